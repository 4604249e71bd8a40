"""Runs pkilint's programs over files in one process: each start of one costs half a second.

Usage: lint.py FILE.... What ends in .crt is linted by lint_pkix_cert, what ends in .crl by lint_crl
under both of its profiles. Prints what they find at WARNING or above, as a list of JSON objects
with file, code, severity and message.
"""

import contextlib
import io
import json
import sys

from pkilint.bin import lint_crl, lint_pkix_cert

ARGUMENTS = ["-s", "WARNING", "-f", "JSON"]


def report(main, *arguments):
    """The results of one run. The exit code is the number of findings."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = main(list(arguments))
    results = json.loads(out.getvalue())["results"]
    count = sum(len(result["finding_descriptions"]) for result in results)
    assert count == code, f"{arguments}: exit code {code}, {count} findings"
    return results


def reports(file):
    if file.endswith(".crt"):
        return report(lint_pkix_cert.main, "lint", *ARGUMENTS, file)
    assert file.endswith(".crl"), file
    lint = ["lint", "-t", "CRL", "-p"]
    return [
        result
        for profile in ("PKIX", "BR")
        for result in report(lint_crl.main, *lint, profile, *ARGUMENTS, file)
    ]


findings = [
    {"file": file, **finding}
    for file in sys.argv[1:]
    for result in reports(file)
    for finding in result["finding_descriptions"]
]
json.dump(findings, sys.stdout)
