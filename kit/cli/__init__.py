"""The command line: one file per verb. A verb parses, calls one function of ``kit.pipeline``, and prints.

Files:
    main.py     the command ``kit``: panels, exit codes, error messages
    options.py  arguments and options that several verbs share
    console.py  results on stdout, progress and errors on stderr
    VERB.py     one per verb
"""
