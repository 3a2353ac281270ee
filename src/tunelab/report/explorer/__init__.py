"""``samples.html``: every sample of a study under any two cells, in one file that works without a network.

``collect`` reads what the steps left, ``texts`` says how much of a text is carried, ``packed`` makes the chunks that
the page opens one by one, and ``page`` writes the file.
"""
