"""Prints flumotion.records and flumotion.counters of flumotion.requests.

    python3 flumotion.py

A reference for the counters and the records of Flumotion's HTTP server, written from its
rules: a request with a Range of bytes gets 206 and the first such range, another unit gets
416, a missing file 404; the bytes of a request are those of its body; a request begins with
its header and is complete once. The share that was read is the mean of the requests for
resources over 64 KiB; Flumotion divides their sum by the number of all requests. The texts of errors are those of the server under test.
"""

SIZES = {"/film.mp4": 1048699, "/clip.flv": 70000, "/small.txt": 1000, "/edge.bin": 65536, "/over.bin": 65537}
NOT_FOUND, BAD_RANGE = "File not found.\n", "invalid range\n"
LARGE = 64 * 1024


def answer(method, path, wanted):
    """Returns status, bytes, size, first and last; None for unknown."""
    size = SIZES.get(path)
    if size is None:
        return 404, len(NOT_FOUND), None, None, None
    if wanted is None:
        return 200, 0 if method == "HEAD" else size, size, None, None
    unit, _, span = wanted.partition("=")
    if unit != "bytes":
        return 416, len(BAD_RANGE), None, None, None
    start, _, end = span.partition("-")
    if start:
        first, last = int(start), int(end) if end else size - 1
    else:
        first, last = size - min(int(end), size), size - 1
    return 206, 0 if method == "HEAD" else last - first + 1, size, first, last


counters = {"total-request-count": 0, "finished-request-count": 0, "total-bytes-sent": 0}
classes, shares = {}, []
with open("flumotion.requests") as requests, open("flumotion.records", "w") as records:
    for line in requests:
        method, path, *wanted = line.split()
        status, sent, size, first, last = answer(method, path, wanted[0] if wanted else None)
        print(status, sent, *("-" if v is None else v for v in (size, first, last)), file=records)
        counters["total-request-count"] += 1
        counters["finished-request-count"] += 1
        counters["total-bytes-sent"] += sent
        name = "resp-%dxx" % (status // 100)
        counters[name] = counters.get(name, 0) + 1
        if size is not None and size > LARGE and method != "HEAD":
            shares.append(sent / size)
counters["mean-read-ratio"] = sum(shares) / len(shares)
with open("flumotion.counters", "w") as out:
    for name in sorted(counters):
        print(name, counters[name], file=out)
