//! Small histories with what the checker must say of them, and just that.

mod common;

use common::{PRODUCER, SCANNER, Story, latest, poll, polled, send};
use sordini_jepsen::anomaly::{Anomaly, Permit};
use sordini_jepsen::history::{Acks, Answer, At, Event, History, Line, Malformed, Operation, Step};

#[test]
fn an_empty_history_holds() {
    let story = Story::new(2);
    assert!(story.verdict().holds());
    assert_eq!(story.found(), []);
}

#[test]
fn a_log_that_everybody_reads_as_it_was_written_holds() {
    let mut story = Story::new(1);
    story.sent(&[10, 11], 0);
    story.polled(2, 0, &[(0, 10)]);
    story.sent(&[12], 2);
    story.polled(2, 1, &[(1, 11), (2, 12)]);
    story.scanned(&[(0, 10), (1, 11), (2, 12)]);
    let verdict = story.verdict();
    assert_eq!(verdict.findings, []);
    assert_eq!((verdict.counts.tally.values_acknowledged, verdict.counts.tally.values_read), (3, 3));
    assert_eq!(verdict.counts.tally.partitions_scanned, 1);
}

#[test]
fn offsets_between_which_nothing_is_are_no_anomaly() {
    let mut story = Story::new(1);
    story.sent(&[10], 0);
    story.sent(&[11], 5);
    story.polled(2, 0, &[(0, 10), (5, 11)]);
    assert_eq!(story.found(), []);
}

#[test]
fn two_readers_with_two_values_at_an_offset_are_inconsistent() {
    let mut story = Story::new(1);
    story.sent_perhaps(&[10]);
    story.sent_perhaps(&[11]);
    story.polled(2, 3, &[(3, 10)]);
    story.polled(3, 3, &[(3, 11)]);
    assert_eq!(story.found(), [(Anomaly::InconsistentOffset, Some(3), Some(11))]);
    assert_eq!(story.verdict().findings[0].operations, [6, 4]);
}

#[test]
fn an_acknowledgement_with_acks_all_is_as_good_as_a_read() {
    let mut story = Story::new(1);
    let first = story.invoke(PRODUCER, send(0, &[10], Acks::All));
    let second = story.invoke(2, send(0, &[11], Acks::All));
    story.end(PRODUCER, first, Step::Ok(Answer::Sent { base_offset: Some(0) }));
    story.end(2, second, Step::Ok(Answer::Sent { base_offset: Some(0) }));
    assert_eq!(story.found(), [(Anomaly::InconsistentOffset, Some(0), Some(11))]);
    story.contracts[0].unclean_leader_election = true;
    assert_eq!(story.judged(), [(Anomaly::InconsistentOffset, Some(Permit::UncleanElection))]);
}

#[test]
fn what_a_leader_alone_acknowledged_may_be_replaced() {
    let mut story = Story::new(1);
    story.done(2, send(0, &[20], Acks::Leader), Answer::Sent { base_offset: Some(0) });
    story.sent(&[10], 0);
    story.polled(3, 0, &[(0, 10)]);
    let expected = [
        (Anomaly::InconsistentOffsetWeak, Some(Permit::AcksBelowAll)),
        (Anomaly::LostAcks1, Some(Permit::AcksBelowAll)),
    ];
    assert_eq!(story.judged(), expected);
    assert!(story.verdict().holds());
    assert!(story.verdict().to_string().contains("1 lost-acks1: all had acks=0 or acks=1: allowed"));
}

#[test]
fn a_value_at_two_offsets_is_a_duplicate_unless_its_producer_is_not_idempotent() {
    for (idempotent, permitted) in [(true, None), (false, Some(Permit::NotIdempotent))] {
        let mut story = Story::new(1);
        let values = [10].into();
        let send = Operation::Send { partition: 0, values, acks: Acks::All, idempotent };
        story.done(PRODUCER, send, Answer::Sent { base_offset: Some(0) });
        story.polled(2, 0, &[(0, 10), (1, 10)]);
        assert_eq!(story.judged(), [(Anomaly::Duplicate, permitted)]);
    }
}

#[test]
fn a_duplicate_names_who_saw_it_where() {
    let mut story = Story::new(1);
    let send = story.sent(&[10], 0);
    let first = story.polled(2, 0, &[(0, 10)]);
    let second = story.polled(3, 4, &[(4, 10)]);
    let found = &story.verdict().findings[0];
    assert_eq!((found.offset, found.other_offset), (Some(0), Some(4)));
    assert_eq!(found.operations, [send, first, second]);
}

#[test]
fn a_reader_that_passes_what_was_acknowledged_shows_that_it_is_lost() {
    let mut story = Story::new(1);
    story.sent(&[10, 11, 12], 0);
    let passer = story.polled(2, 0, &[(0, 10), (2, 12)]);
    story.polled(3, 0, &[(0, 10), (2, 12)]);
    assert_eq!(story.found(), [(Anomaly::LostAcked, Some(1), Some(11))]);
    assert_eq!(story.verdict().findings[0].operations, [0, passer]);
}

#[test]
fn a_reader_that_goes_on_behind_a_hole_passes_it() {
    let mut story = Story::new(1);
    story.sent(&[10, 11, 12], 0);
    story.polled(2, 0, &[(0, 10)]);
    story.polled(2, 2, &[(2, 12)]);
    assert_eq!(story.found(), [(Anomaly::LostAcked, Some(1), Some(11))]);
}

#[test]
fn a_reader_that_has_not_come_so_far_shows_nothing() {
    let mut story = Story::new(1);
    story.sent(&[10, 11, 12], 0);
    story.polled(2, 0, &[(0, 10), (1, 11)]);
    assert_eq!(story.found(), []);
}

#[test]
fn what_somebody_read_must_be_in_the_last_scan_whatever_its_producer_waited_for() {
    let mut story = Story::new(1);
    story.done(5, send(0, &[20], Acks::Leader), Answer::Sent { base_offset: Some(0) });
    story.polled(2, 0, &[(0, 20)]);
    story.scanned(&[]);
    assert_eq!(story.judged(), [(Anomaly::LostAcked, None)]);
}

#[test]
fn a_send_of_which_nobody_knows_binds_once_it_was_read() {
    let mut story = Story::new(1);
    story.sent_perhaps(&[10]);
    story.scanned(&[]);
    assert_eq!(story.found(), []);
    let mut story = Story::new(1);
    story.sent_perhaps(&[10]);
    story.polled(2, 0, &[(0, 10)]);
    story.scanned(&[]);
    assert_eq!(story.found(), [(Anomaly::LostAcked, Some(0), Some(10))]);
}

#[test]
fn what_is_sent_during_the_last_scan_need_not_be_in_it() {
    let mut story = Story::new(1);
    let scan = story.invoke(99, Operation::Scan { partition: 0, from: 0 });
    story.sent(&[10], 0);
    story.polled(2, 0, &[(0, 10)]);
    story.end(99, scan, Step::Ok(Answer::Scanned));
    assert_eq!(story.found(), []);
}

#[test]
fn a_scan_that_did_not_come_to_the_end_shows_nothing() {
    let mut story = Story::new(1);
    story.sent(&[10], 0);
    let scan = story.invoke(99, Operation::Scan { partition: 0, from: 0 });
    story.end(99, scan, Step::Info);
    assert_eq!(story.found(), []);
    assert_eq!(story.verdict().counts.tally.partitions_scanned, 0);
}

#[test]
fn the_last_scan_of_several_counts() {
    let mut story = Story::new(1);
    story.sent(&[10], 0);
    story.scanned(&[]);
    story.scanned(&[(0, 10)]);
    assert_eq!(story.found(), []);
}

#[test]
fn losses_are_permitted_when_as_many_replicas_forgot_as_hold_what_is_committed() {
    for (amnesiacs, permitted) in [(0, None), (1, None), (2, Some(Permit::TooManyAmnesiacs))] {
        let mut story = Story::new(1);
        story.contracts[0].amnesiac_replicas_max = amnesiacs;
        story.sent(&[10], 0);
        story.scanned(&[]);
        assert_eq!(story.judged(), [(Anomaly::Unseen, permitted)]);
    }
}

#[test]
fn the_one_replica_that_there_is_may_forget_whatever_min_insync_replicas_says() {
    let mut story = Story::new(1);
    story.contracts[0].replication_factor = 1;
    story.contracts[0].amnesiac_replicas_max = 1;
    story.sent(&[10], 0);
    story.scanned(&[]);
    assert!(story.verdict().holds());
}

#[test]
fn what_ends_before_an_acknowledged_offset_leaves_it_unseen() {
    let mut story = Story::new(1);
    let send = story.sent(&[10, 11], 0);
    let scan = story.scanned(&[(0, 10)]);
    assert_eq!(story.found(), [(Anomaly::Unseen, Some(1), Some(11))]);
    assert_eq!(story.verdict().findings[0].operations, [send, scan]);
}

#[test]
fn an_acknowledgement_without_an_offset_binds_too() {
    let mut story = Story::new(1);
    story.done(PRODUCER, send(0, &[10], Acks::All), Answer::Sent { base_offset: None });
    story.done(2, send(0, &[20], Acks::None), Answer::Sent { base_offset: None });
    story.scanned(&[]);
    let expected = [(Anomaly::LostAcks1, Some(Permit::AcksBelowAll)), (Anomaly::Unseen, None)];
    assert_eq!(story.judged(), expected);
}

#[test]
fn what_lies_below_the_log_start_may_be_gone_where_records_are_removed() {
    for removes in [true, false] {
        let mut story = Story::new(1);
        story.contracts[0].removes_records = removes;
        story.sent(&[10, 11], 0);
        story.polled(2, 0, &[(0, 10), (1, 11)]);
        let scan = story.invoke(99, Operation::Scan { partition: 0, from: 1 });
        story.done(99, poll(0, 1), polled(&[(1, 11)], Some(2), Some(1)));
        story.end(99, scan, Step::Ok(Answer::Scanned));
        assert_eq!(story.verdict().holds(), removes);
    }
}

#[test]
fn a_poll_that_was_told_that_the_log_begins_earlier_skipped_what_is_removed_later() {
    let mut story = Story::new(1);
    story.contracts[0].removes_records = true;
    story.sent(&[10, 11], 0);
    story.polled(2, 0, &[(0, 10)]);
    story.done(3, poll(0, 0), polled(&[(1, 11)], None, Some(0)));
    story.done(4, poll(0, 1), polled(&[(1, 11)], None, Some(1)));
    assert_eq!(story.found(), [(Anomaly::PollSkip, Some(0), Some(10))]);
    // One that was not told so may have come to the log start.
    story.events.truncate(4);
    story.done(3, poll(0, 0), polled(&[(1, 11)], None, Some(1)));
    assert_eq!(story.found(), []);
}

#[test]
fn what_was_definitely_not_sent_is_not_read() {
    let mut story = Story::new(1);
    let send = story.invoke(PRODUCER, send(0, &[10], Acks::All));
    story.end(PRODUCER, send, Step::Fail);
    let poll = story.polled(2, 0, &[(0, 10)]);
    assert_eq!(story.found(), [(Anomaly::FailedRead, Some(0), Some(10))]);
    assert_eq!(story.verdict().findings[0].operations, [send, poll]);
}

#[test]
fn a_consumer_that_leaves_out_what_others_got_skips() {
    let mut story = Story::new(1);
    story.sent(&[10, 11, 12], 0);
    let witness = story.polled(2, 0, &[(0, 10), (1, 11), (2, 12)]);
    let before = story.polled(3, 0, &[(0, 10)]);
    let skipper = story.polled(3, 2, &[(2, 12)]);
    assert_eq!(story.found(), [(Anomaly::PollSkip, Some(1), Some(11))]);
    assert_eq!(story.verdict().findings[0].operations, [before, skipper, witness]);
}

#[test]
fn a_consumers_first_poll_begins_where_it_asked() {
    let mut story = Story::new(1);
    story.sent(&[10, 11], 0);
    story.polled(2, 0, &[(0, 10), (1, 11)]);
    story.polled(3, 0, &[(1, 11)]);
    assert_eq!(story.found(), [(Anomaly::PollSkip, Some(0), Some(10))]);
}

#[test]
fn a_consumer_that_seeks_neither_skips_nor_goes_back() {
    let mut story = Story::new(1);
    story.sent(&[10, 11, 12], 0);
    story.polled(2, 0, &[(0, 10)]);
    story.done(2, Operation::Seek { partition: 0, to: 2 }, Answer::Sought);
    story.polled(2, 2, &[(2, 12)]);
    story.done(2, Operation::Seek { partition: 0, to: 0 }, Answer::Sought);
    story.polled(2, 0, &[(0, 10), (1, 11)]);
    assert_eq!(story.found(), []);
    // After a seek the place is known all the same.
    story.done(2, Operation::Seek { partition: 0, to: 0 }, Answer::Sought);
    story.polled(2, 0, &[(1, 11)]);
    assert_eq!(story.found(), [(Anomaly::PollSkip, Some(0), Some(10))]);
}

#[test]
fn a_consumer_that_gets_again_what_it_had_goes_back() {
    let mut story = Story::new(1);
    story.sent(&[10, 11], 0);
    let before = story.polled(2, 0, &[(0, 10), (1, 11)]);
    let again = story.polled(2, 2, &[(1, 11)]);
    assert_eq!(story.found(), [(Anomaly::NonmonotonicPoll, Some(1), Some(11))]);
    assert_eq!(story.verdict().findings[0].operations, [before, again]);
}

#[test]
fn a_poll_that_failed_moves_nobody() {
    let mut story = Story::new(1);
    story.sent(&[10, 11], 0);
    story.polled(2, 0, &[(0, 10)]);
    let failed = story.invoke(2, poll(0, 1));
    story.end(2, failed, Step::Fail);
    story.polled(2, 1, &[(1, 11)]);
    assert_eq!(story.found(), []);
}

#[test]
fn a_first_poll_that_failed_brings_nobody_anywhere() {
    let mut story = Story::new(1);
    story.sent(&[10, 11], 0);
    story.polled(2, 0, &[(0, 10), (1, 11)]);
    let failed = story.invoke(3, poll(0, 0));
    story.end(3, failed, Step::Fail);
    story.polled(3, 1, &[(1, 11)]);
    assert_eq!(story.found(), []);
}

#[test]
fn what_is_lost_is_told_as_lost_and_nobody_skipped_it() {
    let mut story = Story::new(1);
    story.sent(&[10, 11, 12], 0);
    story.polled(2, 0, &[(0, 10), (1, 11), (2, 12)]);
    story.polled(3, 0, &[(0, 10), (2, 12)]);
    story.scanned(&[(0, 10), (2, 12)]);
    assert_eq!(story.found(), [(Anomaly::LostAcked, Some(1), Some(11))]);
}

#[test]
fn what_is_lost_is_no_measure_of_what_comes_later() {
    let mut story = Story::new(1);
    story.contracts[0].linearizable_reads = true;
    story.sent(&[10, 11], 0);
    story.sent(&[12], 1);
    story.polled_of(2, 0, 0, &[(0, 10), (1, 12)], Some(2));
    story.sent(&[13, 14, 15], 2);
    story.polled_of(2, 0, 2, &[], Some(2));
    story.sent(&[16], 2);
    let scan = story.invoke(99, Operation::Scan { partition: 0, from: 0 });
    story.polled_of(99, 0, 0, &[(0, 10), (1, 12), (2, 16)], Some(3));
    story.end(99, scan, Step::Ok(Answer::Scanned));
    let expected = [
        // 11 was acknowledged where 12 is, and 13 where 16 is.
        (Anomaly::InconsistentOffset, Some(1), Some(12)),
        (Anomaly::InconsistentOffset, Some(2), Some(16)),
        (Anomaly::LostAcked, Some(1), Some(11)),
        (Anomaly::LostAcked, Some(2), Some(13)),
        (Anomaly::Unseen, Some(3), Some(14)),
        (Anomaly::Unseen, Some(4), Some(15)),
    ];
    assert_eq!(story.found(), expected);
}

#[test]
fn where_a_leader_alone_acknowledged_there_need_be_nothing() {
    let mut story = Story::new(1);
    story.sent(&[10], 0);
    story.done(2, send(0, &[20], Acks::Leader), Answer::Sent { base_offset: Some(1) });
    story.polled(3, 0, &[(0, 10), (2, 20)]);
    assert_eq!(story.found(), []);
}

#[test]
fn who_comes_to_the_log_start_passes_nothing_that_was_removed() {
    let mut story = Story::new(1);
    story.contracts[0].removes_records = true;
    story.sent(&[10, 11], 0);
    story.done(2, Operation::ListOffsets { partition: 0, at: At::Earliest }, Answer::Listed { offset: 1 });
    story.polled(3, 0, &[(1, 11)]);
    assert_eq!(story.found(), []);
}

#[test]
fn only_the_scanning_process_scans() {
    let mut story = Story::new(1);
    story.sent(&[10], 0);
    let scan = story.invoke(99, Operation::Scan { partition: 0, from: 0 });
    story.polled(2, 0, &[(0, 10)]);
    story.end(99, scan, Step::Ok(Answer::Scanned));
    assert_eq!(story.found(), [(Anomaly::LostAcked, Some(0), Some(10))]);
}

#[test]
fn what_the_scanner_read_before_or_after_the_scan_was_not_in_it() {
    for is_before in [true, false] {
        let mut story = Story::new(1);
        story.sent(&[10], 0);
        if is_before {
            story.polled(SCANNER, 0, &[(0, 10)]);
        }
        story.scanned(&[]);
        if !is_before {
            story.polled(SCANNER, 0, &[(0, 10)]);
        }
        assert_eq!(story.found(), [(Anomaly::LostAcked, Some(0), Some(10))]);
    }
}

#[test]
fn inside_a_poll_too_nothing_is_skipped_and_nothing_comes_again() {
    let mut story = Story::new(1);
    story.sent(&[10, 11, 12], 0);
    story.polled(2, 0, &[(0, 10), (1, 11), (2, 12)]);
    story.polled(3, 0, &[(0, 10), (2, 12)]);
    story.polled(4, 0, &[(0, 10), (0, 10)]);
    let expected = [
        (Anomaly::InternalPollSkip, Some(1), Some(11)),
        (Anomaly::InternalNonmonotonicPoll, Some(0), Some(10)),
    ];
    assert_eq!(story.found(), expected);
}

#[test]
fn values_of_one_send_lie_in_order_and_others_may_lie_between() {
    let mut story = Story::new(1);
    story.sent_perhaps(&[10, 11]);
    story.done(2, send(0, &[20], Acks::All), Answer::Sent { base_offset: Some(1) });
    story.polled(3, 0, &[(0, 10), (1, 20), (2, 11)]);
    assert_eq!(story.found(), []);
    let mut story = Story::new(1);
    story.sent_perhaps(&[10, 11]);
    story.polled(3, 0, &[(0, 11), (1, 10)]);
    assert_eq!(story.found(), [(Anomaly::InternalNonmonotonicSend, Some(0), Some(11))]);
}

#[test]
fn a_producers_sends_lie_in_order_if_it_is_idempotent() {
    for (idempotent, permitted) in [(true, None), (false, Some(Permit::NotIdempotent))] {
        let mut story = Story::new(1);
        let send =
            |value| Operation::Send { partition: 0, values: [value].into(), acks: Acks::All, idempotent };
        let first = story.invoke(PRODUCER, send(10));
        let second = story.invoke(PRODUCER, send(11));
        story.end(PRODUCER, second, Step::Ok(Answer::Sent { base_offset: Some(0) }));
        story.end(PRODUCER, first, Step::Ok(Answer::Sent { base_offset: Some(1) }));
        assert_eq!(story.judged(), [(Anomaly::NonmonotonicSend, permitted)]);
        assert_eq!(story.verdict().findings[0].operations, [first, second]);
    }
}

#[test]
fn what_is_sent_after_an_acknowledgement_lies_behind_it() {
    let mut story = Story::new(1);
    story.done(2, send(0, &[20], Acks::All), Answer::Sent { base_offset: Some(1) });
    story.sent(&[10], 0);
    assert_eq!(story.found(), [(Anomaly::RealtimeOrder, Some(0), Some(10))]);
    // At the same time either may be first.
    let mut story = Story::new(1);
    let first = story.invoke(2, send(0, &[20], Acks::All));
    story.sent(&[10], 0);
    story.end(2, first, Step::Ok(Answer::Sent { base_offset: Some(1) }));
    assert_eq!(story.found(), []);
}

#[test]
fn what_came_early_and_late_did_not_come_too_early() {
    let mut story = Story::new(1);
    story.sent(&[10], 5);
    let values = [20].into();
    let twice = Operation::Send { partition: 0, values, acks: Acks::All, idempotent: false };
    story.done(2, twice, Answer::Sent { base_offset: Some(7) });
    story.polled(3, 3, &[(3, 20), (5, 10), (7, 20)]);
    assert_eq!(story.judged(), [(Anomaly::Duplicate, Some(Permit::NotIdempotent))]);
}

#[test]
fn what_is_out_of_place_is_told_once() {
    let mut story = Story::new(1);
    story.contracts[0].linearizable_reads = true;
    story.done(2, send(0, &[20], Acks::All), Answer::Sent { base_offset: Some(9) });
    story.sent(&[10], 0);
    story.sent(&[11], 1);
    story.polled_of(3, 0, 0, &[(0, 10)], Some(1));
    story.polled_of(3, 0, 1, &[(1, 11)], Some(2));
    let expected = [(Anomaly::RealtimeOrder, Some(0), Some(10)), (Anomaly::StaleRead, Some(9), Some(20))];
    assert_eq!(story.found(), expected);
    assert_eq!(story.verdict().counts.lag.reads, 2);
}

#[test]
fn a_high_watermark_below_what_was_acknowledged_is_stale() {
    for (linearizable, permitted) in [(true, None), (false, Some(Permit::ReadsMayLag))] {
        for by_poll in [true, false] {
            let mut story = Story::new(1);
            story.contracts[0].linearizable_reads = linearizable;
            let send = story.sent(&[10], 0);
            let told = if by_poll {
                story.polled_of(2, 0, 0, &[], Some(0))
            } else {
                story.done(2, latest(0), Answer::Listed { offset: 0 })
            };
            story.polled_of(2, 0, 0, &[], Some(1));
            assert_eq!(story.judged(), [(Anomaly::StaleRead, permitted)]);
            let verdict = story.verdict();
            assert_eq!(verdict.findings[0].operations, [send, told]);
            assert_eq!((verdict.counts.lag.reads, verdict.counts.lag.us_max), (1, 10));
        }
    }
}

#[test]
fn a_read_that_began_before_the_acknowledgement_may_not_know_of_it() {
    let mut story = Story::new(1);
    story.contracts[0].linearizable_reads = true;
    let read = story.invoke(2, poll(0, 0));
    story.sent(&[10], 0);
    story.end(2, read, Step::Ok(polled(&[], Some(0), None)));
    assert_eq!(story.found(), []);
}

#[test]
fn what_was_sent_elsewhere_is_misrouted() {
    let mut story = Story::new(2);
    let send = story.sent(&[10], 0);
    let poll = story.polled_of(2, 1, 0, &[(0, 10)], None);
    story.polled_of(3, 1, 0, &[(0, 10)], None);
    assert_eq!(story.found(), [(Anomaly::Misrouted, Some(0), Some(10))]);
    assert_eq!(story.verdict().findings[0].operations, [send, poll]);
}

#[test]
fn what_nobody_sent_by_then_is_not_read() {
    let mut story = Story::new(1);
    let poll = story.polled(2, 0, &[(0, 10)]);
    let send = story.sent_perhaps(&[10]);
    story.polled(2, 1, &[(1, 77)]);
    let found: Vec<_> =
        story.verdict().findings.into_iter().map(|found| (found.anomaly, found.value)).collect();
    assert_eq!(found, [(Anomaly::UnsentRead, Some(10)), (Anomaly::UnsentRead, Some(77))]);
    assert_eq!(story.verdict().findings[0].operations, [send, poll]);
}

#[test]
fn the_text_shows_the_smallest_examples_first_and_the_contract_beside_them() {
    let mut story = Story::new(1);
    for at in 0..20 {
        story.sent(&[10 + at], i64::try_from(at).unwrap() * 7 % 20);
    }
    story.scanned(&[]);
    let text = story.verdict().to_string();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines[..3],
        [
            "22 operations: 20 sends, 1 polls",
            "20 values sent, 20 acknowledged, 0 read",
            "1 of 1 partitions read to the end",
        ]
    );
    assert_eq!(lines[3], "20 unseen: BROKEN");
    let example = "  orders-0, offset 13, value 29, operations 38 40 (acks=all, idempotent; 2 of 3 replicas in sync, clean \
                   elections, 0 amnesiac at most)";
    assert_eq!(lines[4], example);
    assert!(lines[5].starts_with("  orders-0, offset 6, value 28, operations 36 40 "), "{}", lines[5]);
    assert_eq!(lines[12..], ["  and 12 more", "20 promises were broken"]);
}

#[test]
fn a_verdict_is_json_and_every_kind_has_its_name_there() {
    let mut story = Story::new(1);
    story.sent(&[10], 0);
    story.scanned(&[]);
    let verdict = story.verdict();
    let json = verdict.json();
    assert!(json.contains(
        r#"{"anomaly":"unseen","partition":0,"offset":0,"value":10,"operations":[0,2],"asked":{"acks":"all","idempotent":true}}"#
    ));
    assert_eq!(serde_json::from_str::<sordini_jepsen::verdict::Verdict>(&json).unwrap(), verdict);
    for anomaly in Anomaly::ALL {
        assert_eq!(serde_json::to_value(anomaly).unwrap(), anomaly.name());
    }
}

#[test]
fn a_history_is_lines_of_json() {
    let lines = r#"{"contract":{"topic":"orders","partition":0,"replication_factor":3,"min_insync_replicas":2,"unclean_leader_election":false,"amnesiac_replicas_max":0,"removes_records":false,"linearizable_reads":false}}
{"event":{"seq":0,"at_us":5,"process":1,"op":0,"step":{"invoke":{"send":{"partition":0,"values":[7,8],"acks":"all","idempotent":true}}}}}
{"event":{"seq":1,"at_us":9,"process":1,"op":0,"step":{"ok":{"sent":{"base_offset":0}}}}}
{"event":{"seq":4,"at_us":10,"process":2,"op":4,"step":{"invoke":{"poll":{"partition":0,"from":0,"isolation":"read_uncommitted"}}}}}
{"event":{"seq":5,"at_us":11,"process":2,"op":4,"step":{"ok":{"polled":{"records":[[0,7],[1,9]],"high_watermark":2,"log_start":0}}}}}
{"event":{"seq":6,"at_us":12,"process":1,"op":6,"step":{"invoke":{"list_offsets":{"partition":0,"at":"latest"}}}}}
{"event":{"seq":7,"at_us":13,"process":1,"op":6,"step":"info"}}
"#;
    let verdict = sordini_jepsen::check(&History::read(lines.as_bytes()).unwrap());
    let found: Vec<_> =
        verdict.findings.iter().map(|found| (found.anomaly, found.offset, found.value)).collect();
    assert_eq!(found, [(Anomaly::LostAcked, Some(1), Some(8)), (Anomaly::UnsentRead, Some(1), Some(9))]);
    let written: String = lines
        .lines()
        .map(|line| serde_json::to_string(&serde_json::from_str::<Line>(line).unwrap()).unwrap() + "\n")
        .collect();
    assert_eq!(written, lines);
}

#[test]
fn a_file_with_a_value_sent_twice_is_refused() {
    let mut story = Story::new(1);
    story.sent(&[10], 0);
    story.sent(&[10], 1);
    let contracts = story.contracts.iter().cloned().map(Line::Contract);
    let lines = contracts.chain(story.events.iter().cloned().map(Line::Event));
    let text: Vec<_> = lines.map(|line| serde_json::to_string(&line).unwrap()).collect();
    let error = History::read(text.join("\n").as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "value 10 is sent twice");
}

#[test]
#[should_panic(expected = "value 10 is sent twice")]
fn a_history_with_a_value_sent_twice_is_a_bug_of_who_made_it() {
    let mut story = Story::new(1);
    story.sent(&[10], 0);
    story.sent(&[10], 1);
    story.verdict();
}

#[test]
#[should_panic(expected = "value 10 is sent twice")]
fn values_far_apart_are_sent_once_too() {
    let mut story = Story::new(1);
    story.sent(&[10, u64::MAX], 0);
    story.sent(&[10], 2);
    story.verdict();
}

#[test]
fn what_is_no_history_is_refused_and_changes_nothing() {
    let mut story = Story::new(1);
    let open = story.invoke(PRODUCER, send(0, &[10], Acks::All));
    let mut history = story.history();
    let event = |seq, process, op, step| Event { seq, at_us: 0, process, op, step };
    let refused = [
        (event(0, 1, 0, Step::Fail), Malformed::OutOfOrder { seq: 0 }),
        (event(1, 1, 1, Step::Invoke(send(1, &[11], Acks::All))), Malformed::UnknownPartition { seq: 1 }),
        (event(1, 1, 7, Step::Invoke(send(0, &[11], Acks::All))), Malformed::NotItself { seq: 1 }),
        (event(1, 1, 7, Step::Fail), Malformed::NotOpen { seq: 1 }),
        (event(1, 2, open, Step::Fail), Malformed::NotOpen { seq: 1 }),
        (event(1, 1, open, Step::Ok(Answer::Scanned)), Malformed::WrongAnswer { seq: 1 }),
        (event(1, 1, open, Step::Ok(Answer::Sent { base_offset: Some(-1) })), Malformed::NoOffset { seq: 1 }),
        (event(1, 1, 1, Step::Invoke(poll(0, -1))), Malformed::NoOffset { seq: 1 }),
    ];
    for (event, why) in refused {
        assert_eq!(history.push(event), Err(why));
    }
    assert_eq!(history.push(event(1, 1, open, Step::Info)), Ok(()));
    assert_eq!(history.push(event(2, 1, open, Step::Info)), Err(Malformed::NotOpen { seq: 2 }));
}
