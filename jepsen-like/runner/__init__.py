"""What `real_cluster` is made of: the links between its processes, their faults, the clients, and the history of these."""

PARTITIONS = 4
TOPIC = "judged"
