"""What stands in the place of other packages' objects: is given live objects, never looks for them."""
