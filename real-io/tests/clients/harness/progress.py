"""How far the load of a check has come, which is a process of its own."""

import threading


class Progress:
    """The number of acknowledged records of each producer, as the load prints them."""

    def __init__(self, process, producers):
        self.acknowledged, self.has_ended = [0] * producers, False
        self.changed = threading.Condition()
        threading.Thread(target=self.follow, args=(process.stdout,), daemon=True).start()

    def follow(self, lines):
        for line in lines:
            with self.changed:
                self.acknowledged = [int(n) for n in line.split()]
                self.changed.notify_all()
        with self.changed:
            self.has_ended = True
            self.changed.notify_all()

    def wait_more(self, seconds):
        """Waits until every producer has had something acknowledged since the call. Whether that came to pass."""
        with self.changed:
            before = self.acknowledged
            has_more = lambda: all(a > b for a, b in zip(self.acknowledged, before))
            self.changed.wait_for(lambda: self.has_ended or has_more(), timeout=seconds)
            return has_more()
