"""From what is to be said to the bytes of a mail: templates, Markdown as safe HTML, headers, a last look."""
