#!/usr/bin/env python3
"""Makes random sequences of ipvsadm commands: generate.py SEED COUNT > sequences.json

Each sequence is a list of commands, each an argument list and what it reads. Most commands make sense for a small
set of services, so that they meet each other; the others are spoiled in some way."""

import json
import random
import sys

HOSTS = """127.0.0.1 localhost
10.9.9.1 web web.example
10.9.9.2 a-rather-long-name-for-a-virtual-service.example.net
10.0.2.11 server-eleven
10.0.2.12 a-name-of-a-server-that-is-too-long.example.net
fd00:9::1 web-six
fd00:2::b server-b-with-a-long-name-that-is-not-cut.example.net
"""
SERVICES = """http 80/tcp www
http 80/udp
domain 53/tcp
domain 53/udp
https 443/tcp
sip 5060/udp
http-alt 8080/tcp webcache
only-sctp 90/sctp
"""

SCHEDULERS = ["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh"]
V4 = ["10.9.9.1", "10.9.9.2", "10.9.9.3"]
V6 = ["fd00:9::1", "fd00:9::2"]
SERVERS4 = ["10.0.2.11", "10.0.2.12", "10.0.2.13", "10.3.0.1"]
SERVERS6 = ["fd00:2::b", "fd00:2::c"]
ODD_NUMBERS = ["", "0", "-1", "-0", "+5", " 5", "5 ", "05", "0x10", "0X1f", "1e3", "1.5", "abc", "65535", "65536", "255", "256",
               "2147483647", "2147483648", "4294967295", "4294967296", "99999999999999999999", "-2147483648", "1", "128", "129",
               "2678400", "2678401", "16777216"]
ODD_ADDRESSES = ["", "0.0.0.0", "0", "255.255.255.255", "224.0.0.5", "127.0.0.1", "127.255.255.255", "10.9.9.256", "10.9.9",
                 "10.9.80", "0x0a090901", "010.9.9.1", "1.2.3.4.5", "::", "::1", "fe80::1", "ff02::1", "::ffff:10.0.2.11",
                 "[fd00:9::1]", "[fd00:9::1", "fd00:9::1]", "[10.9.9.1]", "web", "web.example", "web-six", "server-eleven",
                 "nosuch.invalid", "localhost", "10.0.2.255", "10.0.1.1", "10.9.9.9", "fd00:9::9", "fd00:1::1", "*", "any",
                 "10.9.9.1 ", " 10.9.9.1", "240.0.0.1", "169.254.1.1", "1", "a" * 70, "10.0.2.11/32", "0:0:0:0:0:0:0:1"]
ODD_PORTS = ["", "0", "80", "65535", "65536", "-1", "+80", " 80", "80 ", "080", "0x50", "http", "www", "domain", "HTTP", "only-sctp",
             "https", "sip", "nosuch", "99999999999", "80:80", "8 0"]
COMMANDS = ["-A", "-E", "-D", "-C", "-R", "-S", "-a", "-e", "-d", "-L", "-l", "-Z", "-h", "-v", "--set", "--add-service", "--edit-service",
            "--delete-service", "--clear", "--restore", "--save", "--add-server", "--edit-server", "--delete-server", "--list", "--zero",
            "--stop-daemon", "--start-daemon", "--help", "--version"]
SIMPLE = ["-n", "-c", "-6", "-o", "-g", "-i", "-m", "-X", "-p", "--numeric", "--connection", "--ipv6", "--ops", "--gatewaying", "--ipip",
          "--masquerading", "--exact", "--persistent", "--stats", "--rate", "--timeout", "--daemon", "--thresholds", "--persistent-conn",
          "--tun-info", "--sort", "--nosort", "--tun-nocsum", "--tun-csum", "--tun-remcsum"]
VALUED = ["-t", "-u", "-f", "-s", "-M", "-b", "-r", "-w", "-x", "-y", "--tcp-service", "--udp-service", "--sctp-service",
          "--fwmark-service", "--scheduler", "--pe", "--netmask", "--sched-flags", "--real-server", "--weight", "--u-threshold",
          "--l-threshold", "--tun-type", "--tun-port", "--mcast-interface", "--syncid", "--sync-maxlen", "--mcast-group", "--mcast-port",
          "--mcast-ttl"]
UNKNOWN = ["--foo", "-q", "--weigh", "--list-all", "-", "--", "---", "--tcp-serv", "-W", "-Lq", "--=x", "--no-such=1", "-?", "--usage",
           "--statistics", "-V"]


class Maker:
    def __init__(self, seed):
        self.r = random.Random(seed)
        self.there = []

    def one(self, of):
        return self.r.choice(of)

    def chance(self, share):
        return self.r.random() < share

    # -- services and servers -----------------------------------------------------------------------------------------
    def address6(self, text):
        return "[%s]" % text

    def known(self):
        """A service that was added before, most of the time, with some of its servers."""
        if self.there and self.chance(0.8):
            return self.one(self.there)
        words, kind = self.service()
        return words, kind, []

    def service(self):
        """An option that names a service, and its kind."""
        r = self.r.random()
        if r < 0.22:
            mark = self.one(["1", "2", "7", "4294967295", "100"])
            six = self.chance(0.3)
            return ["-f" if self.chance(0.8) else "--fwmark-service", mark] + (["-6"] if six else []), ("mark", six)
        if r < 0.42:
            at, six = self.address6(self.one(V6)), True
        else:
            at, six = self.one(V4), False
            if self.chance(0.05):
                at = "web"
        port = self.one(["80", "80", "80", "53", "443", "0", "8080", "90", "http"]) if self.chance(0.95) else None
        option, kind = self.one([("-t", "tcp"), ("-t", "tcp"), ("-u", "udp"), ("--sctp-service", "sctp"),
                                 ("--tcp-service", "tcp"), ("--udp-service", "udp")])
        if port is None:
            text = at.strip("[]")
        else:
            text = "%s:%s" % (at, port)
        return [option, text], (kind, six)

    def persistence(self, six):
        words = ["-p"] if self.chance(0.6) else ["--persistent"]
        if self.chance(0.7):
            words.append(self.one(["1", "60", "300", "360", "2678400", "5"]))
        if self.chance(0.4):
            mask = self.one(["64", "128", "1", "48"]) if six else self.one(["255.255.255.0", "255.255.255.255", "255.0.0.0", "0.0.0.0",
                                                                              "255.255.0.255", "24"])
            words += ["-M", mask]
        return words

    def about_service(self, kind):
        groups = []
        scheduler = self.one(SCHEDULERS) if self.chance(0.75) else None
        if scheduler:
            groups.append(["-s" if self.chance(0.8) else "--scheduler", scheduler])
        if self.chance(0.35):
            groups.append(self.persistence(kind[1]))
        if kind[0] in ("udp", "mark") and self.chance(0.25):
            groups.append(["-o"])
        if self.chance(0.25):
            flags = {"sh": ["sh-fallback", "sh-port"], "mh": ["mh-fallback", "mh-port"]}.get(scheduler, []) + ["flag-1", "flag-2", "flag-3"]
            chosen = [self.one(flags) for _ in range(self.one([1, 1, 2, 3]))]
            groups.append(["-b", ",".join(chosen)])
        if self.chance(0.04):
            groups.append(["--pe", self.one(["nosuch", "none", ""])])
        return groups

    def server(self, kind):
        six = kind[1] if self.chance(0.92) else not kind[1]
        if self.chance(0.06):
            at = self.one(["10.9.9.7", "127.0.0.1", "10.0.2.1", "10.0.1.1"]) if not six else self.one(["fd00:2::1", "fd00:9::7"])
        else:
            at = self.one(SERVERS6 if six else SERVERS4)
        port = self.one(["80", "8080", "0", "53", "http"]) if self.chance(0.6) else None
        if port is not None:
            at = "%s:%s" % (self.address6(at) if six else at, port)
        return ["-r" if self.chance(0.85) else "--real-server", at]

    def tunnel(self):
        kind = self.one(["ipip", "gue", "gre", None])
        words = [["-i"]]
        if kind:
            words.append(["--tun-type", kind])
        if kind == "gue" and self.chance(0.93):
            words.append(["--tun-port", self.one(["6080", "1", "65535"])])
        if self.chance(0.4):
            words.append([self.one(["--tun-nocsum", "--tun-csum", "--tun-remcsum"])])
        return words

    def about_server(self):
        groups = []
        r = self.r.random()
        if r < 0.35:
            groups.append(["-m"])
        elif r < 0.5:
            groups.append(["-g"])
        elif r < 0.8:
            groups += self.tunnel()
        if self.chance(0.5):
            groups.append(["-w", self.one(["0", "1", "5", "100", "65536", "2147483647"])])
        if self.chance(0.2):
            groups.append(["-x", self.one(["0", "10", "70000", "2147483647"])])
        if self.chance(0.15):
            groups.append(["-y", self.one(["0", "5", "10", "70000"])])
        return groups

    # -- commands -----------------------------------------------------------------------------------------------------
    def shuffled(self, command, groups):
        if self.chance(0.3):
            self.r.shuffle(groups)
        return [command] + [word for group in groups for word in group]

    def numeric(self):
        return [["-n"]] if self.chance(0.75) else []

    def listing(self):
        groups = self.numeric()
        r = self.r.random()
        if r < 0.1:
            groups.append(["-c"])
            if self.chance(0.4):
                groups.append(["--persistent-conn"])
        elif r < 0.18:
            groups.append([self.one(["--timeout", "--daemon"])])
        else:
            for _ in range(self.one([0, 1, 1, 1, 2])):
                groups.append([self.one(["--stats", "--rate", "--thresholds", "--persistent-conn", "--tun-info", "--exact", "--sort",
                                         "--nosort"])])
            if self.chance(0.15):
                groups.append(self.known()[0])
        return self.shuffled(self.one(["-L", "-l", "--list"]), groups)

    def known_server(self):
        words, kind, servers = self.known()
        return words, self.one(servers) if servers and self.chance(0.8) else self.server(kind)

    def command(self):
        r = self.r.random()
        if r < 0.26:
            words, kind = self.service()
            self.there.append((words, kind, []))
            return self.shuffled(self.one(["-A", "-A", "--add-service"]), [words] + self.about_service(kind))
        if r < 0.33:
            words, kind, _ = self.known()
            return self.shuffled(self.one(["-E", "--edit-service"]), [words] + self.about_service(kind))
        if r < 0.37:
            return self.shuffled(self.one(["-D", "--delete-service"]), [self.known()[0]])
        if r < 0.58:
            words, kind, servers = self.known()
            servers.append(self.server(kind))
            return self.shuffled(self.one(["-a", "-a", "--add-server"]), [words, servers[-1]] + self.about_server())
        if r < 0.66:
            words, server = self.known_server()
            return self.shuffled(self.one(["-e", "--edit-server"]), [words, server] + self.about_server())
        if r < 0.7:
            words, server = self.known_server()
            return self.shuffled(self.one(["-d", "--delete-server"]), [words, server])
        if r < 0.86:
            return self.listing()
        if r < 0.91:
            return self.shuffled(self.one(["-S", "--save"]), self.numeric())
        if r < 0.94:
            return self.shuffled(self.one(["-Z", "--zero"]), [self.known()[0]] if self.chance(0.6) else [])
        if r < 0.97:
            return ["--set"] + [self.one(["0", "1", "60", "900", "2147483647", "31536000"]) if self.chance(0.3)
                                else self.one(["0", "5", "120", "2678400"]) for _ in range(3)]
        if r < 0.98:
            return [self.one(["-C", "--clear"])]
        if r < 0.985:
            return [self.one(["-h", "-v", "--version", "--help"])]
        if r < 0.99:
            return []
        return ["--stop-daemon", self.one(["master", "backup"])]

    def spoil(self, words):
        """Makes a command wrong, or at least unusual."""
        words = list(words)
        at = self.r.randrange(len(words) + 1)
        some = self.r.randrange(len(words)) if words else 0
        r = self.r.random()
        if r < 0.1 and words:
            del words[some]
        elif r < 0.2 and words:
            words.insert(at, words[some])
        elif r < 0.27 and len(words) > 1:
            other = self.r.randrange(len(words))
            words[some], words[other] = words[other], words[some]
        elif r < 0.35:
            words.insert(at, self.one(SIMPLE))
        elif r < 0.43:
            words[at:at] = [self.one(VALUED), self.one(ODD_NUMBERS + ODD_ADDRESSES)]
        elif r < 0.48:
            words.insert(at, self.one(COMMANDS))
        elif r < 0.53:
            words.insert(at, self.one(UNKNOWN))
        elif r < 0.57:
            words.insert(at, self.one(["stray", "", "10.9.9.1:80", "5", "-5"]))
        elif r < 0.62 and words:
            words = self.glue(words)
        elif words:
            words = self.replace_value(words)
        return words

    def glue(self, words):
        """Values written to their options: -w5, -w=5, --weight=5, -nL."""
        places = [i for i in range(len(words) - 1) if words[i].startswith("-") and not words[i + 1].startswith("-")]
        if not places:
            return words + ["-n"]
        i = self.one(places)
        sign = "=" if words[i].startswith("--") or self.chance(0.3) else ""
        return words[:i] + [words[i] + sign + words[i + 1]] + words[i + 2:]

    def replace_value(self, words):
        places = [i for i in range(1, len(words)) if not words[i].startswith("-")]
        if not places:
            return words + [self.one(VALUED), self.one(ODD_NUMBERS)]
        i = self.one(places)
        option = words[i - 1]
        if option in ("-t", "-u", "--tcp-service", "--udp-service", "--sctp-service", "-r", "--real-server"):
            address = self.one(ODD_ADDRESSES) if self.chance(0.6) else self.one(V4 + SERVERS4 + ["[fd00:9::1]", "[fd00:2::b]"])
            words[i] = address if self.chance(0.3) else "%s:%s" % (address, self.one(ODD_PORTS) if self.chance(0.5) else "80")
        elif option in ("-s", "--scheduler"):
            words[i] = self.one(["nosuch", "", "RR", "r", "rr ", "wlc,rr", "none", "x" * 40])
        elif option in ("-b", "--sched-flags"):
            words[i] = self.one(["", "flag-1,,flag-2", "flag-4", "sh-port", "mh-port", "FLAG-1", "flag-1 ", " flag-1", "flag-1,foo",
                                 "sh-fallback,mh-fallback"])
        elif option == "-M":
            words[i] = self.one(ODD_ADDRESSES + ODD_NUMBERS + ["255.255.255.0", "64"])
        elif option == "--tun-type":
            words[i] = self.one(["", "IPIP", "gue ", "vxlan", "gu"])
        else:
            words[i] = self.one(ODD_NUMBERS)
        return words

    def line(self, words):
        """A command as a line of -R."""
        text = " ".join('"%s"' % w if " " in w or not w else w for w in words)
        r = self.r.random()
        if r < 0.1:
            text = "ipvsadm " + text
        elif r < 0.14:
            text = "  " + text + "  "
        elif r < 0.17:
            text = text.replace(" ", "\t", 1)
        elif r < 0.19:
            text += " # a remark"
        elif r < 0.21:
            text += self.one(["\r", "\\", " 'a b'", ' "a', " a\\ b", "#"])
        return text

    def restore(self):
        lines = []
        for _ in range(self.r.randrange(1, 9)):
            words = self.command()
            if self.chance(0.06):
                words = self.spoil(words)
            lines.append(self.line(words))
        if self.chance(0.15):
            lines.insert(self.r.randrange(len(lines) + 1), self.one(["", "   ", "# a remark", "ipvsadm", "foo"]))
        return "\n".join(lines) + ("" if self.chance(0.2) else "\n")

    def step(self):
        if self.chance(0.05):
            return {"args": [self.one(["-R", "--restore"])], "stdin": self.restore()}
        words = self.command()
        if self.chance(0.25):
            words = self.spoil(words)
            if self.chance(0.2):
                words = self.spoil(words)
        return {"args": words}

    def allowed(self, step):
        """What a recording cannot show: a sync daemon that starts."""
        return not any("start-daemon" in word for word in step["args"] + step.get("stdin", "").split()) or \
            not any(word.startswith(("m", "b")) and word in ("master", "backup") for word in step["args"] + step.get("stdin", "").split())

    def sequence(self):
        steps, self.there = [], []
        length = self.r.randrange(8, 16)
        while len(steps) < length:
            step = self.step()
            if self.allowed(step):
                steps.append(step)
        return steps + [{"args": ["-Sn"]}, {"args": ["-L", "--nosort"]}]


def main():
    seed, count = int(sys.argv[1]), int(sys.argv[2])
    maker = Maker(seed)
    made = {"seed": seed, "hosts": HOSTS, "services": SERVICES, "sequences": [maker.sequence() for _ in range(count)]}
    json.dump(made, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
