"""Version directories as archives, and what is left of those that were refused."""

import tarfile
import zipfile


def zipped(path, target, prefix=""):
    """`path` as the zip file `target`, its files in the folder `prefix`."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in path.iterdir():
            archive.write(file, prefix + file.name)
    return target


def tarred(path, target, prefix=""):
    """The same as a tar file, compressed where the name of `target` ends in gz."""
    with tarfile.open(target, "w:gz" if target.name.endswith("gz") else "w") as archive:
        archive.add(path, prefix or ".")
    return target


def nothing_was_left_in(models):
    """Whether an install has left no trace."""
    return not models.exists() or list(models.iterdir()) == []
