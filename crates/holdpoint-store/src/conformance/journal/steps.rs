use holdpoint_core::{Ending, HoldState, Moved, Ran, Resolution, Step};

use super::{
    Processes, claim, dispatch, end, finish, got, new_hold, opened, owner, same, step, take_up, way_to,
};

/// Every step from every state: it is made where the diagram has it, and changes nothing where it has not.
pub(super) async fn only_the_steps_of_the_diagram_are_made(processes: &impl Processes) {
    let journal = processes.start(&owner("one")).await;
    let steps = [
        claim("two"),
        dispatch("one"),
        finish(Ran::Succeeded),
        finish(Ran::Failed),
        Step::Lose,
        end(Ending::Rejected),
        end(Ending::Expired),
        end(Ending::Cancelled),
        end(Ending::ChangesRequested),
        end(Ending::Void),
        Step::Deliver,
        take_up(7),
        Step::Resolve(Resolution::Ran),
        Step::Resolve(Resolution::DidNotRun),
    ];
    let mut seconds = 0;
    for state in HoldState::ALL {
        for tried in &steps {
            seconds += 1;
            let hold = opened(&*journal, new_hold(1, seconds)).await;
            for way in way_to(state) {
                step(&*journal, hold.id, way, seconds).await;
            }
            let before = got(&*journal, hold.id).await;
            assert_eq!(before.state, state);
            let moved = journal.advance(hold.id, tried.clone(), super::at(seconds)).await.unwrap();
            let after = got(&*journal, hold.id).await;
            // A fresh claim is not taken over.
            let is_fresh_claim = matches!(tried, Step::Claim { .. }) && state == HoldState::Approved;
            if tried.from().contains(&state) && !is_fresh_claim {
                assert_eq!(moved, Moved::Yes, "{state:?} {tried:?}");
                assert_eq!(after.state, tried.to(), "{state:?} {tried:?}");
            } else {
                assert_eq!(moved, Moved::No, "{state:?} {tried:?}");
                same(&before, &after);
            }
            // The call is free for the next round.
            for way_out in [
                end(Ending::Void),
                finish(Ran::Succeeded),
                Step::Resolve(Resolution::DidNotRun),
                Step::Deliver,
            ] {
                let _over_already = journal.advance(hold.id, way_out, super::at(seconds)).await.unwrap();
            }
        }
    }
}
