"""The pages of the web app; each file has a function ``show``.

The folder is not called ``pages``: Streamlit would take its files for scripts of their own.
"""
