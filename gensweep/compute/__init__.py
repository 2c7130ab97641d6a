"""Score against compute: what a budget buys, at which budget the verdict flips, and what a larger one would buy."""
