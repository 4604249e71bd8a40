"""What the scripts that drive a head with hvac share. The first two arguments are URL and CA_FILE."""

import sys
import warnings

import hvac
from hvac import exceptions

warnings.simplefilter("error")
URL, CA_FILE, *MORE = sys.argv[1:]


def client(token=None):
    return hvac.Client(url=URL, token=token, verify=CA_FILE)


def refuses(kind, call, *args, **kwargs):
    """The call raises just this exception, which hvac makes from the status."""
    try:
        call(*args, **kwargs)
    except exceptions.VaultError as error:
        assert type(error) is kind, f"{type(error).__name__} instead of {kind.__name__}: {error}"
        return error
    raise AssertionError(f"{call.__name__}{args} was not refused")
