"""The console: what failed and how it ended, what waits for a human, and where failures are to be expected.

`app.py` is the entry file that Streamlit runs, a router; each file under ``views`` is one page. Pages ask
`queries`, which know nothing of Streamlit, and draw with `charts`.
"""
