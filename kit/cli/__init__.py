"""The command line: one file per verb. A verb parses, calls one function of ``kit.pipeline``, and prints.

Reads: command-line arguments.
Writes: stdout and stderr; ``kit.pipeline`` writes files.

    main.py     the command ``kit``: panels, exit codes, error messages
    options.py  arguments and options that several verbs share
    console.py  results on stdout, progress and errors on stderr
    VERB.py     one per verb
"""
