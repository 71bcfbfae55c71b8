"""The rules, by name: what each one promises. `docs/how-to/audit.md` explains them."""

#: In the order of a call's life.
RULES: dict[str, str] = {
    "call_stuck": "a call has ended, or waits for something that will come",
    "call_inconsistent": "a call and its attempts tell the same story",
    "call_dialed_twice": "no call rang in two attempts",
    "attempt_dialed_twice": "the provider has no second call for an attempt",
    "unknown_dial": "the provider has no call of ours that the ledger lacks",
    "line_leaked": "no attempt that is over holds a line",
    "duplicate_dial": "no second call for an attempt was ever heard of",
    "rang_after_proof": "nothing rang that was proven not to have been dialed",
    "found_after_lost": "nothing was found after it was told as never placed",
    "unknown_call": "no call with our metadata came that we never placed",
    "shared_call_id": "no two attempts were told to be the same call",
    "inbox_stuck": "no provider event waits in the inbox",
    "inbox_missing": "every analysis that is shown is kept as it came",
    "inbox_unapplied": "every provider event has had its effect",
    "attempt_end": "an attempt told as initiated has one end told, once it is over",
    "call_end": "a call that was never initiated has one `not_placed` told, once it has ended",
    "activity_order": "a call's events are numbered without gaps, in the order of its life",
    "activity_repeated": "no event is told twice",
    "activity_identity": "an event is what its row says, under the id derived from it",
    "activity_stranded": "every event not yet delivered is due for delivery",
    "warehouse_missing": "the warehouse has every row that was loaded",
    "warehouse_differs": "its rows equal the ledger's",
    "warehouse_extra": "it has no row twice, and none that the ledger lacks",
    "not_checked": "everything asked for was checked",
}
