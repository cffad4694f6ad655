"""`dep COMMAND`: one file each, which parses, calls one function and shows what came of it."""
