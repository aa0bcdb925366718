#!/usr/bin/env python3
"""Lets a real ipvsadm carry sequences out and notes what it says: record.py ORACLE sequences.json > recorded.json

ORACLE is the program of the machine the golden cases were recorded on: it starts a Linux 6.1 as a process.
Services are removed and time-outs are set back before each sequence."""

import importlib.machinery
import importlib.util
import json
import shlex
import sys

AT_ONCE = 10


def guest(path):
    loader = importlib.machinery.SourceFileLoader("oracle", path)
    oracle = importlib.util.module_from_spec(importlib.util.spec_from_loader("oracle", loader))
    loader.exec_module(oracle)
    return oracle.Guest()


def script(steps):
    out = ["ipvsadm -C; ipvsadm --set 900 120 300"]
    for step in steps:
        words = " ".join(shlex.quote(word) for word in step["args"])
        given = "printf %%s %s | " % shlex.quote(step["stdin"]) if "stdin" in step else ""
        end = "" if given else " </dev/null"
        out.append("%sipvsadm %s%s >/tmp/o 2>/tmp/e" % (given, words, end))
        out.append("printf '\\002%s\\001' $?; cat /tmp/o; printf '\\001'; cat /tmp/e")
    return "\n".join(out) + "\n"


def main():
    made = json.load(open(sys.argv[2]))
    recorded = []
    with guest(sys.argv[1]) as machine:
        machine._v6()
        machine.sh("mount -t tmpfs tmpfs /etc; printf %%s %s > /etc/hosts; printf %%s %s > /etc/services; echo 'hosts: files' > /etc/nsswitch.conf"
                   % (shlex.quote(made["hosts"]), shlex.quote(made["services"])), check=True)
        sequences = made["sequences"]
        for at in range(0, len(sequences), AT_ONCE):
            some = sequences[at:at + AT_ONCE]
            _, text = machine.sh("".join(script(steps) for steps in some), timeout=600)
            answers = text.split("\x02")[1:]
            assert len(answers) == sum(len(steps) for steps in some), (at, text[-500:])
            for steps in some:
                said = []
                for step in steps:
                    status, out, err = answers.pop(0).split("\x01")
                    said.append({**step, "status": int(status), "out": out, "err": err})
                recorded.append(said)
            print("%d of %d" % (len(recorded), len(sequences)), file=sys.stderr)
    print('{"hosts":%s,"services":%s,"sequences":[' % (json.dumps(made["hosts"]), json.dumps(made["services"])))
    print(",\n".join(json.dumps(said, separators=(",", ":")) for said in recorded))
    print("]}")


if __name__ == "__main__":
    main()
