"""Write the bundled competition: scikit-learn's handwritten digits as a competition folder.

Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
Repository, 1998 (CC BY 4.0); scikit-learn has its test part, 1,797 images of 8 x 8 pixels.
"""

from pathlib import Path

import pandas as pd

from kit.errors import KitError
from kit.storage.files import write_text

TEST_SHARE = 0.2
SEED = 0


def write_digits(folder: Path) -> bool:
    """Write the digits competition to ``folder``; return False if it is already there.

    ``train/`` and ``test/`` hold PNG files, ``train.csv`` the labels, ``sample_submission.csv`` the format,
    and ``solution.csv`` the labels of the test images. The sample file is written last: a folder with it is
    complete.
    """
    from PIL import Image
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    complete = folder / "sample_submission.csv"
    if complete.exists():
        return False
    if folder.exists() and not folder.is_dir():
        rule = "The digits are written to a folder of this name"
        raise KitError(folder, "is a file", rule, "Move it.", code="folder_exists")
    digits = load_digits()
    ids = [f"{number:04d}" for number in range(len(digits.target))]
    table = pd.DataFrame({"id": ids, "label": digits.target.astype(str)})
    train, test = train_test_split(table, test_size=TEST_SHARE, random_state=SEED, stratify=table["label"])
    for part, rows in (("train", train), ("test", test)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        for row in rows.index:
            pixels = (digits.images[row] / 16 * 255).round().astype("uint8")
            Image.fromarray(pixels).save(folder / part / f"{ids[row]}.png")
    train, test = train.sort_index(), test.sort_index()
    write_text(folder / "train.csv", train.to_csv(index=False, lineterminator="\n"))
    write_text(folder / "solution.csv", test.to_csv(index=False, lineterminator="\n"))
    write_text(complete, test.assign(label="0").to_csv(index=False, lineterminator="\n"))
    return True
