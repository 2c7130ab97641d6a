"""Images that begin with a picture: versions of it, with a part drawn anew, or frames on the way to another."""
