"""The web app (``kit app``): the files of the workspace in a browser, on this machine only.

Reads: configs, folds, runs and submissions, as the command line does.
Writes: only through the verbs (``init``, ``run``, ``correct``, ``record`` and others).

    serve.py       start the server of Streamlit
    main.py        the script that Streamlit runs: the pages and the errors of each
    state.py       the workspace, and readings that are repeated only when files change
    parts.py       what several pages show: choices, galleries, plain text
    uploads.py     store uploaded files: names, sizes and pixels are checked
    jobs.py        ``kit run`` in the background
    screens/       data, experiments, mistakes, predict, submit, start
"""
