"""Edit a picture: draw variations, redraw a part of it, or interpolate to another one."""
