"""What was said: transcripts about scheduling an interview, told anew from a call's dice.

Nothing is kept: the same dice, plot and variables always give the same words at the same times.
"""

import json
from dataclasses import dataclass
from random import Random

Line = tuple[str, str]
"""Who speaks ("agent" or "user"), and the words, with {names} to fill in."""

# A plot is a row of beats; each beat is said in one of several ways.
_OPENING: tuple[tuple[Line, ...], ...] = (
    (
        ("agent", "Hi, this is Riley calling on behalf of {company}. Am I speaking with {name}?"),
        ("user", "Yes, this is {name}."),
    ),
    (
        ("user", "Hello?"),
        ("agent", "Hello, this is Riley, the scheduling assistant of {company}. Is this {name}?"),
        ("user", "Yeah, speaking. What's this about?"),
    ),
    (
        ("user", "{name} speaking."),
        ("agent", "Hi {name}, it's Riley from {company}. Did I catch you at a good moment?"),
        ("user", "Sure, I have a couple of minutes — go ahead."),
    ),
)
_REASON: tuple[tuple[Line, ...], ...] = (
    (
        (
            "agent",
            (
                "Great. You applied for the {job} position and we would love to set up an "
                "interview. Are you still interested?"
            ),
        ),
        ("user", "Oh, yes, definitely. I was hoping to hear from you."),
    ),
    (
        (
            "agent",
            (
                "I'm calling about your application as {job}. The team liked your profile and "
                "wants to meet you. Would that still be of interest?"
            ),
        ),
        ("user", "Yes, it would. Is that the job in {place}?"),
        ("agent", "Exactly, in {place}."),
    ),
)
_OFFER: tuple[tuple[Line, ...], ...] = (
    (("agent", "Wonderful. We have {when}, or the day after at noon. Which is better?"),),
    (("agent", "Lovely. Could you do {when}? It takes about thirty minutes."),),
)
_ACCEPT: tuple[tuple[Line, ...], ...] = (
    (
        ("user", "{when} works for me."),
        ("agent", "Perfect, you're booked for {when}. You'll get a confirmation by text."),
        ("user", "Great. Do I need to bring anything?"),
        ("agent", "Just a photo ID and, if you have them, your certificates."),
    ),
    (
        ("user", "Let me check… yes, {when} is fine. Is it on site or a video call?"),
        ("agent", "It's a video call; the link comes by text. So that's {when}."),
        ("user", "Got it, I've put it into my calendar."),
    ),
)
_MOVE: tuple[tuple[Line, ...], ...] = (
    (
        ("user", "Hmm, I'm on shift then. Do you have anything later?"),
        ("agent", "Let me look. I could offer half past four that day. Would that suit you?"),
        ("user", "Half past four is good, after I pick up my daughter from the café."),
        ("agent", "Then I've moved it to half past four. A confirmation is on its way."),
    ),
    (
        ("user", "That time is difficult. Could we do it early in the morning instead?"),
        ("agent", "Of course. Eight fifteen is open that day. Shall I take that?"),
        ("user", "Eight fifteen, yes please."),
        ("agent", "Done: eight fifteen it is."),
    ),
)
_CLOSING: tuple[tuple[Line, ...], ...] = (
    (("agent", "Thank you, {name}. Have a great day!"), ("user", "Thanks, you too. Bye.")),
    (("agent", "Is there anything else?"), ("user", "No, that's all."), ("agent", "Goodbye!")),
)
_BUSY_NOW: tuple[tuple[Line, ...], ...] = (
    (
        ("user", "Listen, I'm driving right now. Can you call me back tonight?"),
        ("agent", "Of course, drive safely. We'll try you again this evening."),
        ("user", "Okay, bye."),
    ),
    (
        ("user", "I'm at work at the moment — could you try after six?"),
        ("agent", "No problem, I've noted that: after six. Talk to you then."),
    ),
)
_NO_THANKS: tuple[tuple[Line, ...], ...] = (
    (
        ("agent", "It's about your application as {job}. Are you still looking?"),
        ("user", "No, I took another job last week, sorry."),
        ("agent", "Congratulations! I'll let the team know. All the best, {name}."),
    ),
    (
        ("agent", "I'm calling to schedule your interview for the {job} position."),
        ("user", "I'm not interested any more. Please don't call about this again."),
        ("agent", "Understood, I'll make a note of it. Sorry for the interruption."),
    ),
)
_WRONG: tuple[tuple[Line, ...], ...] = (
    (
        ("agent", "Hi, this is Riley from {company}. Am I speaking with {name}?"),
        ("user", "No, you've got the wrong number. There's no {name} here."),
        ("agent", "I'm sorry to have bothered you. I'll correct our records."),
    ),
    (
        ("agent", "Hello, may I speak with {name}, please?"),
        ("user", "¿Cómo? No, aquí no vive nadie con ese nombre."),
        ("agent", "Lo siento, me equivoqué de número. Que tenga un buen día."),
    ),
)
_VOICEMAIL: tuple[tuple[Line, ...], ...] = (
    (
        (
            "user",
            "You have reached the voicemail of {name}. Please leave a message after the tone.",
        ),
        (
            "agent",
            (
                "Hi {name}, this is Riley from {company} about your interview as {job}. "
                "Please call us back at your convenience. Thank you!"
            ),
        ),
    ),
    (
        ("user", "The person you are calling is not available. Record your message at the tone."),
        ("agent", "Hello {name}, it's Riley from {company}. We'd like to arrange your interview."),
    ),
)
_IVR: tuple[tuple[Line, ...], ...] = (
    (("user", "Thank you for calling. For opening hours, press one. For all else, press two."),),
)
_CUT: tuple[tuple[Line, ...], ...] = (
    (
        ("agent", "Hi, this is Riley from {company}. Am I speaking with {name}?"),
        ("user", "Yes? Hello? I can't hear you…"),
    ),
)
PLOTS = {
    "booked": (_OPENING, _REASON, _OFFER, _ACCEPT, _CLOSING),
    "moved": (_OPENING, _REASON, _OFFER, _MOVE, _CLOSING),
    "callback": (_OPENING, _BUSY_NOW),
    "not_interested": (_OPENING, _NO_THANKS),
    "wrong_person": (_WRONG,),
    "voicemail": (_VOICEMAIL,),
    "ivr": (_IVR,),
    "error": (_CUT,),
}
SUMMARIES = {
    "booked": "The agent reached {name} and booked the {job} interview for {when}.",
    "moved": "The agent reached {name}, who asked for another time; the interview was moved.",
    "callback": "{name} could not talk and asked to be called back in the evening.",
    "not_interested": "{name} is no longer interested in the {job} position.",
    "wrong_person": "The number does not belong to {name}; the agent apologised and hung up.",
    "voicemail": "The call reached voicemail; the agent left a message about the interview.",
    "ivr": "An automated menu answered; nobody was reached.",
    "error": "The call broke off shortly after it was answered.",
}
_BOOKING = ("booked", "moved")
_NAMES = ("Ada", "José", "Mei", "Noor", "Zoë", "Tomasz", "Amara", "Björn", "Priya", "Luca")
_JOBS = ("night nurse", "warehouse associate", "line cook", "delivery driver", "caregiver")
_COMPANIES = ("Harbor Health", "Northwind Staffing", "Brightside Care", "Lakeview Logistics")
_PLACES = ("Portland", "Springfield", "Riverside", "Fairview")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
_TIMES = ("nine thirty", "ten o'clock", "eleven fifteen", "two o'clock", "three thirty")
# What callers name their dynamic variables, by what they stand for here.
_SYNONYMS = {
    "name": ("name", "first_name", "candidate_name", "full_name", "contact_name"),
    "job": ("job", "job_title", "role", "position"),
    "company": ("company", "company_name", "employer", "agency"),
    "place": ("place", "city", "location"),
    "day": ("day", "interview_day", "interview_date", "date"),
    "time": ("time", "interview_time"),
}
# Callers who have chosen a slot name it whole: nothing is drawn beside it.
_SLOTS = ("interview_slot", "slot")
_CHOICES = {
    "name": _NAMES,
    "job": _JOBS,
    "company": _COMPANIES,
    "place": _PLACES,
    "day": _DAYS,
    "time": _TIMES,
}


@dataclass(frozen=True, slots=True)
class Conversation:
    """A transcript in Retell's three forms."""

    transcript: str
    utterances: list[dict[str, object]]
    """`transcript_object`: role, content, words with their seconds in the call."""
    with_tool_calls: list[dict[str, object]]


def cast(dice: int, variables: dict[str, str]) -> dict[str, str]:
    """The people, places and times of a call: the caller's variables, drawn where missing."""
    random = Random(dice ^ 1)  # noqa: S311 - a reproducible story, no secret
    told = {}
    for role, synonyms in _SYNONYMS.items():
        drawn = random.choice(_CHOICES[role])
        told[role] = _given(synonyms, variables) or drawn
    slot = _given(_SLOTS, variables)
    told["when"] = slot or f"{told['day']} at {told['time']}"
    told["slot"] = slot or f"{told['day']}, {told['time']}"
    return told


def summarise(plot: str, told: dict[str, str]) -> str:
    """The `call_summary` of a plot."""
    return _fill(SUMMARIES[plot], told)


def slot_of(plot: str, told: dict[str, str]) -> str | None:
    """The booked slot in words, None where nothing was booked."""
    return told["slot"] if plot in _BOOKING else None


def converse(
    dice: int, plot: str, talk_ms: int, variables: dict[str, str], at_least: int = 0
) -> Conversation:
    """What was said in `talk_ms`; `at_least` characters of it, by saying it over again."""
    random = Random(dice ^ 2)  # noqa: S311 - a reproducible story, no secret
    told = cast(dice, variables)
    script = [
        (who, _fill(words, told)) for beat in PLOTS[plot] for who, words in random.choice(beat)
    ]
    if at_least:
        once = sum(len(words) + len("User: \n") for _, words in script)
        script *= at_least // once + 1
    words_in_all = sum(words.count(" ") + 1 for _, words in script)
    # A pause counts as two words.
    pace = talk_ms / (words_in_all + 2 * len(script))
    at = pace
    utterances: list[dict[str, object]] = []
    for who, words in script:
        timed = []
        for word in words.split(" "):
            timed.append({"word": word, "start": round(at) / 1000, "end": round(at + pace) / 1000})
            at += pace
        at += 2 * pace
        utterances.append({"role": who, "content": words, "words": timed})
    with_tools = utterances
    if plot in _BOOKING:
        with_tools = [*utterances[:-1], *_booking(dice, told), utterances[-1]]
    return Conversation(
        transcript="".join(
            f"{'Agent' if who == 'agent' else 'User'}: {words}\n" for who, words in script
        ),
        utterances=utterances,
        with_tool_calls=with_tools,
    )


def _booking(dice: int, told: dict[str, str]) -> list[dict[str, object]]:
    call = f"tool_call_{dice:016x}"
    return [
        {
            "role": "tool_call_invocation",
            "tool_call_id": call,
            "name": "book_interview",
            "arguments": json.dumps({"slot": told["slot"]}, ensure_ascii=False),
        },
        {
            "role": "tool_call_result",
            "tool_call_id": call,
            "content": '{"status":"booked"}',
            "successful": True,
        },
    ]


def _given(names: tuple[str, ...], variables: dict[str, str]) -> str | None:
    return next((variables[name] for name in names if variables.get(name)), None)


def _fill(words: str, told: dict[str, str]) -> str:
    return words.format_map(told)
