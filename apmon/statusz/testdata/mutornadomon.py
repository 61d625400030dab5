"""Prints mutornadomon.json: calls of a program, and the answers of its status page.

    python3 mutornadomon.py > mutornadomon.json

A reference for mutornadomon's page, written from its rules: a count is added to a counter;
a gauge has its last value, and its extremes since the last answer. The numbers of the process
are examples. In the second period the gauges pass their values of the first: our extremes
include the value at the beginning of a period, those of mutornadomon do not.
"""

import json

PROCESS = {
    "uptime": 11.98, "num_fds": 13,
    "meminfo": {"rss_bytes": 31653888, "vsz_bytes": 328933376},
    "cpu": {"user_time": 0.37, "num_threads": 2, "system_time": 0.08},
}
PERIODS = [
    [("count", "requests", 1), ("count", "requests", 2), ("count", "balance", -2.5), ("count", "seconds", 0.25),
     ("kv", "queue", 1), ("kv", "queue", 5), ("kv", "queue", 3), ("kv", "depth", -4)],
    [],
    [("count", "requests", 4), ("count", "balance", 1), ("kv", "queue", 7), ("kv", "queue", 2), ("kv", "depth", 0.5), ("kv", "depth", -6)],
]

counters, gauges, pages = {}, {}, []
for calls in PERIODS:
    most, least = {}, {}
    for call, name, value in calls:
        if call == "count":
            counters[name] = counters.get(name, 0) + value
        else:
            gauges[name] = value
            most[name], least[name] = max(most.get(name, value), value), min(least.get(name, value), value)
    page = {"process": PROCESS, "counters": dict(counters), "gauges": dict(gauges), "max_gauges": most, "min_gauges": least}
    pages.append({"calls": calls, "page": page})
print(json.dumps(pages, indent=1))
