"""One self-contained HTML page: how far the project is, how good its labels are, who needs a look."""
