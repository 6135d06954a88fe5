"""Run kit where competitors run: offline notebooks of code competitions (``kit bundle``).

Reads: a run with its models; ``PLATFORM.txt``, the packages that a platform ships.
Writes: a folder that predicts a hidden test folder without network, and ``submission.csv`` there.

    platform_file.py  the packages of a platform, and what they lack
    wheels.py         the wheels of kit and of what the platform lacks
    scripts.py        the script and the notebook of a bundle
    record.py         the record of a bundle: what it predicts, and the digest of every file
    onnx_models.py    the models as ONNX, for programs without kit
    write_bundle.py   write a bundle
    hidden_test.py    a test folder that kit has never seen, and the format of its submission
    predict_bundle.py predict a hidden test folder in the notebook
"""
