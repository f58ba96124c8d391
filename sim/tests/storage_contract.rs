//! The simulator's disk keeps the contract that every disk under the core keeps, in many weathers.

use sordini_core::storage_contract::{ContractDisk, cases};
use sordini_core::storage_op::{Completion, StorageFault, StorageOp, StorageToken};
use sordini_sim::disk::{Disk, Due};
use sordini_sim::field::Field;
use sordini_sim::plan::{DiskPlan, Range};

/// A disk whose virtual time passes as fast as the suite asks.
struct SimulatedDisk {
    disk: Disk,
    now: u64,
}

impl SimulatedDisk {
    fn new(seed: u64) -> Self {
        let latency = Range { low: 1, high: 500 };
        let plan = DiskPlan { write_us: latency, read_us: latency, sync_us: latency, answer_us: latency };
        Self { disk: Disk::new(Field::new(seed), plan, None), now: 0 }
    }

    fn push(&mut self, ops: Vec<StorageOp>) -> Vec<Due> {
        let token = StorageToken { owner: 0, sequence: 0 };
        ops.into_iter().map(|op| self.disk.submit(self.now, token, op)).collect()
    }
}

impl ContractDisk for SimulatedDisk {
    fn run(&mut self, ops: Vec<StorageOp>) -> Vec<Result<Completion, StorageFault>> {
        let dues = self.push(ops);
        let mut order: Vec<usize> = (0..dues.len()).collect();
        order.sort_by_key(|index| (dues[*index].at, dues[*index].number));
        let mut results: Vec<_> = dues.iter().map(|_| None).collect();
        for index in order {
            self.now = dues[index].at;
            results[index] = self.disk.complete(dues[index].number, self.now, 0).map(|(_, result)| result);
        }
        results.into_iter().map(|result| result.expect("every operation is answered once")).collect()
    }

    fn kill_and_reopen(&mut self) {
        self.disk.kill(self.now, 0);
    }

    fn power_loss_and_reopen(&mut self, under_way: Vec<StorageOp>) -> bool {
        self.push(under_way);
        self.disk.lose_power(self.now, 0);
        true
    }
}

#[test]
fn the_simulated_disk_keeps_the_storage_contract_in_every_weather() {
    for seed in 0..20 {
        for case in cases::<SimulatedDisk>() {
            println!("seed {seed}: {}", case.name);
            (case.run)(&mut SimulatedDisk::new(seed));
        }
    }
}
