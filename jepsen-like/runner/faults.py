"""What happens to the processes and to the links between them: each fault has a beginning and, after a while, an end."""

import itertools
import time

from harness.cluster import SESSION_SECONDS
from harness.controller import leader_among

from . import PARTITIONS, TOPIC
from .links import CLIENTS

# For how many seconds: back at once, before its session is over, or after others have taken its place.
AT_ONCE, SHORT, LONG = (0.0, 0.0), (0.2, 1.5), (SESSION_SECONDS + 1, SESSION_SECONDS + 3)


class Fault:
    """Something that is done to a part of the cluster. `brokers` and `controllers` are those that cannot do their work."""

    def __init__(self, text, begin, end, brokers=(), controllers=(), clients=()):
        self.text, self.begin, self.end = text, begin, end
        self.brokers, self.controllers, self.clients = set(brokers), set(controllers), set(clients)

    def meets(self, other):
        """Both are done to the same process: what two do to one they cannot undo."""
        return bool(self.brokers & other.brokers or self.controllers & other.controllers or self.clients & other.clients)


def kill(servers):
    return (lambda: [server.kill() for server in servers]), (lambda: [server.start() for server in servers])


def pause(servers):
    return (lambda: [server.freeze() for server in servers]), (lambda: [server.thaw() for server in servers])


def both(ways):
    """These ways and those back."""
    return [*ways, *((hearer, speaker) for speaker, hearer in ways)]


class Nemesis:
    """Draws faults. Every kind is drawn once before one is drawn again."""

    def __init__(self, rng, cluster, links, clients):
        self.rng, self.cluster, self.links, self.clients, self.deck = rng, cluster, links, clients, []

    def draw(self):
        """The next fault, and how many seconds it lasts."""
        kinds = [kind for kind in KINDS if len(self.cluster.controllers) > 1 or kind[0] not in OF_SEVERAL_CONTROLLERS]
        self.deck = self.deck or self.rng.sample(kinds, len(kinds))
        kind, length = self.deck.pop()
        return kind(self), self.rng.uniform(*length)

    def broker(self):
        """A broker, every other time one that leads."""
        # As much is drawn whoever leads.
        anyone, partition = self.rng.choice(list(self.cluster.brokers)), self.rng.randrange(PARTITIONS)
        is_leader = self.rng.random() < 0.5
        leader, _, _ = self.cluster.describe(TOPIC).get(partition, (None, 0, []))
        return self.cluster.brokers[leader if is_leader and leader is not None else anyone]

    def others(self, broker):
        """The names of the other brokers, in the order of chance."""
        return [f"broker {n}" for n in self.rng.sample(list(self.cluster.brokers), 3) if n != broker.node]

    def controllers(self):
        return [f"controller {controller.node}" for controller in self.cluster.controllers]

    def kill_broker(self):
        broker = self.broker()
        return Fault(f"kill broker {broker.node}", *kill([broker]), [broker.node])

    def pause_broker(self):
        broker = self.broker()
        return Fault(f"pause broker {broker.node}", *pause([broker]), [broker.node])

    def two(self, do, what):
        pair = self.rng.sample(list(self.cluster.brokers.values()), 2)
        text = f"{what} brokers " + " and ".join(str(broker.node) for broker in pair)
        return Fault(text, *do(pair), [broker.node for broker in pair])

    def kill_two(self):
        return self.two(kill, "kill")

    def pause_two(self):
        return self.two(pause, "pause")

    def kill_all(self):
        brokers = list(self.cluster.brokers.values())
        self.rng.shuffle(brokers)
        return Fault("kill all brokers", *kill(brokers), self.cluster.brokers)

    def active_controller(self):
        anyone = self.rng.choice(self.cluster.controllers)
        leader, _ = leader_among(self.cluster.controllers, 5)
        return leader or anyone

    def kill_controller(self):
        active = self.active_controller()
        return Fault(f"kill active controller {active.node}", *kill([active]), controllers=[active.node])

    def pause_controller(self):
        active = self.active_controller()
        return Fault(f"pause active controller {active.node}", *pause([active]), controllers=[active.node])

    def cut(self, what, ways, brokers=(), controllers=()):
        """Holds the ways, both ways or one of them, or severs them. What was held goes on late or never."""
        shape = self.rng.choice(["both ways", "one way", "the way back", "resets"])
        if shape == "resets":
            text = f"sever {what}"
            return Fault(text, lambda: self.links.sever(both(ways)), lambda: self.links.mend(both(ways)), brokers, controllers)
        is_late = self.rng.random() < 0.5
        back = [(hearer, speaker) for speaker, hearer in ways]
        held = {"both ways": both(ways), "one way": ways, "the way back": back}[shape]
        text = f"hold {what}, {shape}, {'late' if is_late else 'lost'}"
        return Fault(text, lambda: self.links.hold(held), lambda: self.links.heal(held, is_late), brokers, controllers)

    def cut_pair(self):
        broker = self.broker()
        other = self.others(broker)[0]
        return self.cut(f"broker {broker.node} from {other}", [(f"broker {broker.node}", other)], [broker.node])

    def cut_from_brokers(self):
        broker = self.broker()
        ways = [(f"broker {broker.node}", other) for other in self.others(broker)]
        return self.cut(f"broker {broker.node} from the other brokers", ways, [broker.node])

    def cut_from_controllers(self):
        broker = self.broker()
        ways = [(f"broker {broker.node}", controller) for controller in self.controllers()]
        return self.cut(f"broker {broker.node} from the controllers", ways, [broker.node])

    def cut_from_nodes(self):
        """Nobody but clients hears of it."""
        broker = self.broker()
        ways = [(f"broker {broker.node}", other) for other in [*self.others(broker), *self.controllers()]]
        return self.cut(f"broker {broker.node} from all nodes", ways, [broker.node])

    def cut_from_clients(self):
        broker = self.broker()
        return self.cut(f"broker {broker.node} from clients", [(f"broker {broker.node}", CLIENTS)], [broker.node])

    def cut_controller(self):
        """The active one still hears the brokers."""
        name = f"controller {(active := self.active_controller()).node}"
        ways = [(name, other) for other in self.controllers() if other != name]
        return self.cut(f"active {name} from the other controllers", ways, controllers=[active.node])

    def kill_client(self):
        """It leaves behind what it had under way, and another one takes its place."""
        client = self.rng.choice(self.clients)
        return Fault(f"kill client {client.role}", client.kill, client.start, clients=[client])


KINDS = [
    *itertools.product([Nemesis.kill_broker], [AT_ONCE, SHORT, SHORT, LONG, LONG]),
    *itertools.product([Nemesis.pause_broker], [SHORT, LONG, LONG]),
    *itertools.product([Nemesis.cut_pair, Nemesis.cut_from_brokers, Nemesis.cut_from_controllers, Nemesis.cut_from_nodes], [LONG]),
    *itertools.product([Nemesis.cut_from_clients], [SHORT, LONG]),
    *itertools.product([Nemesis.kill_controller, Nemesis.pause_controller, Nemesis.cut_controller], [LONG]),
    *itertools.product([Nemesis.kill_two, Nemesis.pause_two], [SHORT, LONG]),
    *itertools.product([Nemesis.kill_all, Nemesis.kill_client], [AT_ONCE, SHORT]),
]
# One that is alone leaves nobody behind who could take its place, and has no other to be cut from.
OF_SEVERAL_CONTROLLERS = {Nemesis.kill_controller, Nemesis.pause_controller, Nemesis.cut_controller}


def run(faults, on_change):
    """Begins each (seconds from now, seconds, fault) in its time and ends it. `on_change` is told of it, and whether it is over."""
    begun = time.monotonic()
    moments = [(at, False, i) for i, (at, _, _) in enumerate(faults)]
    moments += [(at + length, True, i) for i, (at, length, _) in enumerate(faults)]
    for at, is_over, i in sorted(moments):
        time.sleep(max(0.0, begun + at - time.monotonic()))
        fault = faults[i][2]
        fault.end() if is_over else fault.begin()
        on_change(fault, is_over)
