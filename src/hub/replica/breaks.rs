//! What a replica does when its order breaks off, and when it has it again.
//!
//! Members keep their seats meanwhile. They are told what they missed, and who is there behind it.

use super::{GIVEN_UP_AFTER, Home, Link, Member, Replica, tell};
use crate::bus::{Attached, Batch, Peer, Refused};
use crate::core::close::Close;
use crate::core::entry::{Entry, entries};
use crate::core::id::MemberId;
use crate::core::limit::Instant;
use crate::core::order::{Missed, Place};
use crate::core::wire::{self, Gone};
use crate::hub::log::{Log, Speaker};

impl<S: Clone> Replica<S> {
    /// The bus says where the order is. Returns what was missed, and whose connections are to be closed.
    pub(in crate::hub) fn attached(
        &mut self,
        log: &mut Log<S>,
        state: &Attached,
        now: Instant,
    ) -> (Missed, Vec<(S, Close)>) {
        let Attached { epoch, position, seq, .. } = *state;
        let there = Place { epoch, position, seq };
        let missed = match &mut self.place {
            Some(place) => place.go_to(there),
            none => {
                *none = Some(there);
                Missed::Nothing
            }
        };
        let link = std::mem::replace(&mut self.link, Link::Attached);
        // A node that slept may find its link as it was.
        let away_since = match link {
            Link::Down(since) => Some(since),
            Link::Attached | Link::Waiting => self.sure_at,
        };
        self.sure_at = Some(now);
        log.go_on_behind(seq);
        let present = self.take_over(&state.roster);
        let gone = self.miss(log, &state.roster, missed, away_since, now);
        let mut names = state.roster.iter().map(|peer| peer.member);
        match missed {
            Missed::Nothing => {}
            Missed::Numbers { from, to } => tell(log, &wire::gap(from, to, &mut names)),
            Missed::Order => tell(log, &wire::reset(epoch, seq, &mut names)),
        }
        if matches!(link, Link::Down(_)) {
            tell(log, &wire::resumed());
        }
        for member in present {
            if let Some(joiner) = self.joiners.remove(&member) {
                self.seat(log, member, joiner);
            }
        }
        (missed, gone)
    }

    /// Makes the roster that of the bus, but for members here that it does not have. Returns whose
    /// join came back with it.
    fn take_over(&mut self, roster: &[Peer]) -> Vec<MemberId> {
        self.members.retain(|_, known| known.is_here());
        let mut present = Vec::new();
        for Peer { member, node, hears } in roster.iter().copied() {
            if let Some(Member { home: Home::Here { absent, .. }, .. }) =
                self.members.get_mut(&member)
            {
                // Its join, if one waits, has happened.
                *absent = None;
                self.outgoing.cancel_join(member);
                continue;
            }
            let home = if node == self.node { Home::Gone } else { Home::There(node) };
            self.members.insert(member, Member { home, hears });
            if self.joiners.contains_key(&member) {
                present.push(member);
                self.outgoing.cancel_join(member);
            } else if home == Home::Gone && !self.outgoing.leaves(member) {
                self.outgoing.leave(member, Gone::Lost);
            }
        }
        present
    }

    /// Looks after the members here that the roster of the bus does not have. In a new order they
    /// join again. In the same one somebody made them leave, and their seats are free.
    fn miss(
        &mut self,
        log: &mut Log<S>,
        roster: &[Peer],
        missed: Missed,
        away_since: Option<Instant>,
        now: Instant,
    ) -> Vec<(S, Close)> {
        let mut absentees = Vec::new();
        for (member, known) in &self.members {
            if let Home::Here { seat, absent } = known.home
                && !roster.iter().any(|peer| peer.member == *member)
            {
                absentees.push((*member, seat, absent, known.hears));
            }
        }
        absentees.sort_unstable();
        if missed == Missed::Order {
            let Self { members, outgoing, .. } = self;
            for (member, seat, ..) in &absentees {
                if let Some(known) = members.get_mut(member) {
                    known.home = Home::Here { seat: *seat, absent: Some(now) };
                }
            }
            let seated = absentees.iter().map(|(member, _, _, hears)| (*member, *hears));
            // Whose join was in the old order and has not come back from it.
            let joining = self.joiners.iter().map(|(member, joiner)| (*member, joiner.hears));
            let is_missing = |member: &MemberId| !roster.iter().any(|peer| peer.member == *member);
            let mut again: Vec<_> = seated.chain(joining).collect();
            again.retain(|(member, _)| is_missing(member) && !outgoing.joins(*member));
            again.sort_unstable();
            // Before what they said already.
            outgoing
                .put_back(again.into_iter().map(|(member, hears)| Entry::Join { member, hears }));
            return Vec::new();
        }
        let was_long = away_since.is_some_and(|since| now.since(since) >= GIVEN_UP_AFTER);
        let close = if was_long { Close::OrderLost } else { Close::Kicked };
        let mut gone = Vec::new();
        for (member, seat, absent, _) in absentees {
            if absent.is_some() {
                continue;
            }
            self.members.remove(&member);
            gone.extend(log.vacate(Speaker { seat, member }).map(|handle| (handle, close)));
        }
        gone
    }

    /// A batch did not happen. Returns how many messages are lost with it, and whose connections are
    /// to be closed.
    pub(in crate::hub) fn refused(
        &mut self,
        log: &mut Log<S>,
        batch: &Batch,
        why: Refused,
    ) -> (u64, Option<(S, Close)>) {
        self.is_under_way = false;
        let mut parsed = entries(&batch.entries).filter_map(Result::ok);
        if why == Refused::Void {
            let (said, kept): (Vec<_>, Vec<_>) =
                parsed.partition(|entry| matches!(entry, Entry::Message(_)));
            // A member that has a seat joins again when it is known that the new order lacks it.
            let kept = kept.into_iter().filter(|entry| match entry {
                Entry::Join { member, .. } => {
                    self.joiners.contains_key(member) && !self.outgoing.joins(*member)
                }
                _ => true,
            });
            let kept: Vec<_> = kept.collect();
            self.outgoing.put_back(kept.into_iter());
            return (said.len() as u64, None);
        }
        let (Some(only), None) = (parsed.next(), parsed.next()) else {
            self.outgoing.put_back_one_by_one(&batch.entries);
            return (0, None);
        };
        let Entry::Join { member, .. } = only else {
            // Whoever should leave did already.
            return (u64::from(matches!(only, Entry::Message(_))), None);
        };
        if let Some(joiner) = self.joiners.remove(&member) {
            let _ = joiner.seated.send(Err(Close::RoomFull));
        }
        let Some(Member { home: Home::Here { seat, .. }, .. }) = self.members.remove(&member)
        else {
            return (0, None);
        };
        let handle = log.vacate(Speaker { seat, member });
        (0, handle.map(|handle| (handle, Close::OrderLost)))
    }

    /// The link to the bus is down.
    pub(in crate::hub) fn detached(&mut self, log: &mut Log<S>, now: Instant) {
        if self.is_down() {
            return;
        }
        self.link = Link::Down(self.sure_at.unwrap_or(now));
        self.turn_away(Close::Overload);
        tell(log, &wire::paused());
    }
}
