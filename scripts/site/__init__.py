"""The site of documents: stages the Markdown pages, generates the reference, runs the snippets and checks the links."""
