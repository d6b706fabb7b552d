"""The snippets of the documents: found in the pages, classified, checked against the program, and executed."""
