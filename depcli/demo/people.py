"""The reviewers of the made-up world: thirty people with habits of wording, length, mood and taste.

Placeholders: {a} an aspect of the item, {p} what is said of it, {t} a remark on a trait, {title}, {kind}, {n} the rating and
{word} the rating in a word. Alternatives stand between bars.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Person:
    """How somebody writes. `plan` is the order of the sentences: o opening, a aspect, t trait, v verdict, x aside, s sign-off.

    `style` names changes of the finished text (see world.py), `mood` is added to every opinion, `headline` is the pattern
    of review titles ('' for people who leave them out).
    """

    user_id: str
    plan: str
    opening: tuple[str, ...]
    good: tuple[str, ...]
    bad: tuple[str, ...]
    verdict_good: tuple[str, ...]
    verdict_mixed: tuple[str, ...]
    verdict_bad: tuple[str, ...]
    aside: tuple[str, ...] = ()
    sign_off: str = ""
    headline: str = ""
    style: tuple[str, ...] = ()
    mood: float = 0.0
    likes: tuple[str, ...] = ()
    dislikes: tuple[str, ...] = ()


def _person(
    user_id: str, plan: str, likes: str = "", dislikes: str = "", style: str = "", mood: float = 0.0, **lines: str
) -> Person:  # fmt: skip
    single = {key: lines.pop(key) for key in ("sign_off", "headline") if key in lines}
    wording = {key: tuple(part.strip() for part in text.split("|")) for key, text in lines.items()}
    return Person(
        user_id, plan, likes=tuple(likes.split()), dislikes=tuple(dislikes.split()), style=tuple(style.split()), mood=mood,
        **single, **wording,
    )  # fmt: skip


PEOPLE = (
    _person(
        "ada-ledger", "oaaatv", "clever sturdy", "silly", headline="{n} out of 5",
        opening="Rating first: {word} out of five. | {word} out of five, and here is the arithmetic.",
        good="Plus one: {a} {p}. | In credit: {a} {p}.", bad="Minus one: {a} {p}. | In debit: {a} {p}.",
        verdict_good="The balance is clearly positive. | Clearly in the black.",
        verdict_mixed="The books just about balance. | It breaks even, no more.",
        verdict_bad="The account is closed, at a loss. | Written off in full.",
    ),
    _person(
        "bram.oyster", "oatxv", "slow sad pretty", "loud silly", style="ellipsis",
        opening="I sat down with it on a wet Sunday. | Late evening, one lamp, and {title}.",
        good="And then {a} {p}. | Slowly, {a} {p}.", bad="But {a} {p}. | Sadly, {a} {p}.",
        verdict_good="I am still a little underwater. | Some things you do not finish, they finish you.",
        verdict_mixed="Half of me stayed ashore.", verdict_bad="The tide went out and left nothing.",
        aside="Outside, a tram went by. | The tea had gone cold by then. | Somebody was practising the cello upstairs.",
    ),
    _person(
        "CAPS_CARLA", "oatvv", "loud silly tense", "slow", style="bangs shout", mood=0.7, headline="WOW: {title}",
        opening="OK people, listen up. | Stop what you are doing. | I have news.",
        good="I mean, {a} {p}. | Honestly {a} {p}.", bad="Listen, {a} {p}. | Why, why, why: {a} {p}.",
        verdict_good="Absolutely love it. | Buy two. | Obsessed, totally obsessed.",
        verdict_mixed="Could have been amazing. | So close.", verdict_bad="Never again. | I want my evening back.",
    ),
    _person(
        "dot", "av", "short small", "heavy fussy", style="lower nodots",
        opening="", good="{a} {p}, that is all i really wanted from it | not much to add, {a} {p}",
        bad="{a} {p}, so that was that | no idea what they were thinking, {a} {p}",
        verdict_good="would do again, probably soon, ask me after lunch | good, very good, moving on with my day",
        verdict_mixed="it was fine i suppose, not angry, not happy",
        verdict_bad="no thanks, giving it to my brother, he likes everything",
    ),
    _person(
        "Prof. Emeritus Eustace", "oatav", "clever slow sad", "loud short",
        opening="One approaches {title} with certain expectations. | It has become customary to praise {title}.",
        good="It must be conceded that {a} {p}. | Nor should one overlook that {a} {p}.",
        bad="One is obliged to report that {a} {p}. | It will surprise no attentive observer that {a} {p}.",
        verdict_good="I commend it, with only the usual reservations. | It will repay a second visit, and perhaps a third.",
        verdict_mixed="The question, I fear, remains open. | One waits, without great hope, for a revised edition.",
        verdict_bad="One's shelves are already full of better failures.", headline="Some remarks on {title}",
    ),
    _person(
        "fern_and_sons", "oaxav", "sturdy gentle funny", "fussy tense", headline="From a family of five",
        opening="We are five at home and everybody has an opinion. | Bought for the whole family.",
        good="The twins agreed that {a} {p}. | Even my husband noticed that {a} {p}.",
        bad="The eldest complained that {a} {p}, and she was right. | All five of us thought that {a} {p}.",
        verdict_good="It stays with us. Family vote: five to nil. | Family vote: five to nil, a first in this house.",
        verdict_mixed="Family vote: three to two, recount demanded.",
        verdict_bad="Family vote: nil to five, and the dog abstained.",
        aside="The dog slept through the lot. | Dinner was late because of it, nobody minded. |"
        " The baby had opinions too, mostly about the box.",
    ),
    _person(
        "gus-the-bus", "oxatv", "funny loud silly", "clever slow", style="lower",
        opening="right. | evening all. | long shift, short review.",
        good="gotta say {a} {p}. | fair play, {a} {p}.", bad="sorry but {a} {p}. | come off it, {a} {p}.",
        verdict_good="top stuff, told the whole depot. | ding ding, all aboard.",
        verdict_mixed="it's a stopping service, gets there in the end. | bit of traffic, but we got there.",
        verdict_bad="last stop, everybody off. | missed my stop for this, never again.",
        aside="i drive the 14 so i get a lot of time to think. | brakes squeaking again by the way. |"
        " a passenger recommended it, nice lady, red coat.",
    ),
    _person(
        "Helmine Voss", "oaatvs", "sturdy heavy slow", "silly loud", mood=-0.6, sign_off="With regards, H. Voss",
        opening="I have the following to report. | After thorough examination I note as follows.",
        good="Firstly, {a} {p}. | In its favour, {a} {p}.", bad="Regrettably, {a} {p}. | I must object: {a} {p}.",
        verdict_good="Satisfactory in every respect. | I have no complaint to make, which is rare.",
        verdict_mixed="Improvement is possible and expected. | I shall look at it again in six months.",
        verdict_bad="I have written to the makers. | My letter of complaint has two pages.", headline="Report",
    ),
    _person(
        "iggy?", "oaatv", "clever silly", "gentle", style="questions",
        opening="Is it me? | Where do I even begin? | Who makes these decisions?",
        good="Did you notice how {a} {p}? | Can we talk about how {a} {p}?",
        bad="Did nobody see that {a} {p}? | Why did they let it through when {a} {p}?",
        verdict_good="Why is everybody not talking about this? | Is it too early to call it a favourite?",
        verdict_mixed="Am I wrong to want more? | Is half good good enough?",
        verdict_bad="Do they think we would not notice?", headline="Anyone else?",
    ),
    _person(
        "june-by-the-sea", "oatxvs", "pretty gentle sad", "tense loud", mood=0.4, sign_off="Love from the coast, June x",
        opening="Hello dears. | Hello dears, June again.",
        good="I did so enjoy how {a} {p}. | My favourite part: {a} {p}, bless it.",
        bad="Between ourselves, {a} {p}. | I hate to be unkind, but {a} {p}.",
        verdict_good="A real treat. | I was pink with pleasure.",
        verdict_mixed="Mustn't grumble. | It passed the time nicely enough.",
        verdict_bad="Not for me, dears, but you may feel otherwise.",
        aside="The gulls were at the bins all the while. | My neighbour Pat came in halfway through. | The kettle was on twice.",
    ),
    _person(
        "K.", "aatv", "tense short", "gentle pretty", style="clipped", mood=-0.3,
        opening="", good="{a}: {p}. | Good. {a} {p}.", bad="{a}: {p}. | Bad. {a} {p}.",
        verdict_good="Yes. Without hesitation. Take it. | Worth it. Every cent.",
        verdict_mixed="Maybe. Ask again later. Cannot decide.",
        verdict_bad="No. Avoid. Walk past it.", headline="{title}.",
    ),
    _person(
        "lars_counts_things", "oaatv", "small clever sturdy", "pretty", headline="{n}/5, measured",
        opening="Time spent: 94 minutes. Coffees: 2. | Time spent: one week. Notes taken: 11.",
        good="Observed: {a} {p}. | On the record: {a} {p}.", bad="Defect found: {a} {p}. | Out of tolerance: {a} {p}.",
        verdict_good="Probability that I recommend it: 97 percent.",
        verdict_mixed="Probability that I recommend it: 50 percent, rounded.",
        verdict_bad="Probability that I recommend it: 3 percent, measurement error included.",
    ),
    _person(
        "Mo Hartley", "oatav", "funny gentle", "tense", mood=0.2,
        opening="Full disclosure: I got this from my ex. | I had low hopes and a free evening. | My flatmate swore by it.",
        good="I have to admit that {a} {p}. | Against my will, {a} {p}.",
        bad="I really tried, but {a} {p}. | My therapist will hear how {a} {p}.",
        verdict_good="Damn it, I am a fan now. | So now I have feelings about it. Great.",
        verdict_mixed="It's complicated, like everything I touch. | We are on a break, it and I.",
        verdict_bad="Back to the ex it goes. | I want the evening back, and the deposit.",
    ),
    _person(
        "nana_petrov", "oaxvs", "gentle sturdy slow", "loud clever", sign_off="Eat something. Nana",
        opening="My grandson showed me how to write here. | In my village we had nothing like it.",
        good="So I tell you, {a} {p}. | Bogdan laughed, but {a} {p}.", bad="So I tell you, {a} {p}. Pfui. | Forgive me, {a} {p}.",
        verdict_good="I would give it to my own sister, and we do not speak.",
        verdict_mixed="It is not bread, but it is not stone. | I have been to worse weddings.",
        verdict_bad="For that money you can have a goat. | My late husband would have thrown it in the river.",
        aside="My soup nearly burned. | My knees are bad this week, but I finished. |"
        " The neighbour came for sugar and stayed an hour.",
    ),
    _person(
        "otto.otto", "oataav", "loud tense heavy", "slow sad", style="bangs",
        opening="Wham. | Boom. | Hold on to your hat.",
        good="Zing, {a} {p}. | Pow, {a} {p}.", bad="Splat, {a} {p}. | Clunk, {a} {p}.",
        verdict_good="Ka-ching, best money of the month.",
        verdict_mixed="Fizz, then not much.", verdict_bad="Thud. Straight to the bottom.",
        headline="Wham",
    ),
    _person(
        "pia-list", "oaaav", "short small clever", "heavy slow", style="list lower", headline="notes",
        opening="quick notes:", good="+ {a} {p}", bad="- {a} {p}",
        verdict_good="= keep, gift, repeat",
        verdict_mixed="= keep for now, decide in spring", verdict_bad="= return, refund, forget",
    ),
    _person(
        "Quentin R.", "oatav", "clever tense", "silly gentle", mood=-0.5,
        opening="Everybody loves {title}, so naturally I was suspicious. | Here we go, another darling of the crowd.",
        good="Annoyingly, {a} {p}. | I looked for a fault and found only that {a} {p}.",
        bad="As predicted, {a} {p}. | What the crowd will not tell you is that {a} {p}.",
        verdict_good="Fine. I was wrong. Do not quote me. | I will deny having enjoyed it.",
        verdict_mixed="The crowd is half right, which is its usual score. | Overrated, but only by half.",
        verdict_bad="I rest my case. | You are welcome.", headline="Unpopular opinion",
    ),
    _person(
        "rosalind in the attic", "oatv", "pretty sad slow", "loud heavy", mood=0.3, headline="a letter about {title}",
        opening="Dear stranger who reads this, | Dear reader of small print,",
        good="imagine my joy when {a} {p}. | let me confess that {a} {p} and I wept a little.",
        bad="picture my face when {a} {p}. | it pains my pen to write that {a} {p}.",
        verdict_good="I shall keep it beside the bed with the pressed violets. | Yours, enchanted.",
        verdict_mixed="Yours, in two minds and one cardigan.", verdict_bad="Yours, in mild and lasting sorrow.",
    ),
    _person(
        "sven_grill", "oaatv", "heavy sturdy loud", "small fussy pretty", style="lower",
        opening="not my usual thing, i mostly grill. | wife picked it. | saw it at the hardware store.",
        good="but {a} {p}. solid. | and {a} {p}, respect.", bad="and {a} {p}. weak. | plus {a} {p}, come on.",
        verdict_good="would take it camping. | medium rare. perfect.",
        verdict_mixed="ok. not great. like warm beer. | needed five more minutes on the fire.",
        verdict_bad="burned it. joking. almost.",
    ),
    _person(
        "Tamsin (she reads)", "oaatv", "clever sad gentle", "loud", mood=0.3, headline="{title}: thoughts",
        opening="I finished this with a pencil behind my ear. | Underlined half of it in my head.",
        good="There is a moment, and readers will know it, when {a} {p}. | I made a note in the margin: {a} {p}.",
        bad="I made a cross in the margin: {a} {p}. | There is a moment, and it is a long one, when {a} {p}.",
        verdict_good="On the favourites shelf, spine out. | I have already pressed it on two friends.",
        verdict_mixed="On the landing, between the shelf and the charity box. |"
        " I will lend it out and not mind if it stays away.",
        verdict_bad="In the charity box, face down.",
    ),
    _person(
        "uncle_ray", "oxav", "funny sturdy", "clever fussy", mood=0.2,
        opening="So I says to my buddy Dale, you gotta see this. | True story.",
        good="I tell you what, {a} {p}. | Dale about fell over when {a} {p}.",
        bad="I tell you what, {a} {p}. | Dale just shook his head, {a} {p}.",
        verdict_good="Two thumbs up, and I only got the two. | Me and Dale give it the nod.",
        verdict_mixed="It'll do till the real thing comes along. | It ain't fancy but it ain't broke.",
        verdict_bad="I seen better at the swap meet. | Dale wants his evening back.",
        aside="Dale owes me twenty bucks, by the way. | This was before my hip. | The truck was in the shop so we had time.",
        headline="Ask Dale",
    ),
    _person(
        "Violet Wu", "oatv", "pretty small", "heavy loud", mood=0.1, style="dashes",
        opening="First impression, quiet. Second impression, quieter. | I noticed the colours first.",
        good="Then, like a window opening, {a} {p}. | Somewhere in the middle, {a} {p}.",
        bad="Then, like a dropped tray, {a} {p}. | Somewhere in the middle, a stain: {a} {p}.",
        verdict_good="It left the room brighter than it found it. | I keep going back to look.",
        verdict_mixed="A sketch of something I would like to own. | Pale, but not unpleasant.",
        verdict_bad="Grey, and not the good grey.",
    ),
    _person(
        "wanda.w", "otaavs", "silly funny loud", "slow sad", style="bangs lower", mood=0.8, sign_off="xoxo wanda",
        opening="omg you guys. | ok so. | hiiii it's me again.",
        good="literally {a} {p}. | i screamed when {a} {p}.", bad="ngl {a} {p}. | kinda sad that {a} {p}.",
        verdict_good="ten out of ten, would marry.",
        verdict_mixed="cute but not wedding material. | it's giving second date, maybe.",
        verdict_bad="we broke up, it's not me, it's you.",
    ),
    _person(
        "Xaver B.", "oaatv", "sturdy clever", "silly", mood=-0.2, headline="Compared with the old one",
        opening="I compared it with the one I had before. | Compared with what my father used, this is new.",
        good="Better than before: {a} {p}. | An advance: {a} {p}.", bad="Worse than before: {a} {p}. | A step back: {a} {p}.",
        verdict_good="The old one goes to the cellar. | Progress, for once.",
        verdict_mixed="The old one stays on hand, just in case. | No better, no worse, only newer.",
        verdict_bad="The old one is back in service as of tonight.",
    ),
    _person(
        "yusuf & the cat", "oaxtv", "gentle funny slow", "tense loud", mood=0.2,
        opening="The cat and I gave it a fair trial. | The cat sat on it first, a good sign.",
        good="I thought {a} {p}, and the cat blinked slowly. | We both felt that {a} {p}.",
        bad="The cat left the room when {a} {p}. | We looked at each other: {a} {p}.",
        verdict_good="Four paws up. | She purred, and she does not purr for just anything.",
        verdict_mixed="Two paws up, two in the air. | She yawned, I did not, so we are divided.",
        verdict_bad="Covered with imaginary sand. | She turned her back on it for an hour.",
        aside="She is fourteen and knows quality. | She then knocked over a glass, unrelated. |"
        " It was raining, so we were both in.",
    ),
    _person(
        "zelda_writes_haiku", "oav", "pretty short sad", "loud heavy", style="lines",
        opening="{title}, / I met you on a Tuesday, / rain against the glass. |"
        " {title}, / a long bus ride in winter, / and you in my bag.",
        good="Look: {a} {p}. / Small bells in the fog.", bad="Oh: {a} {p}. / A wet coat, a missed connection.",
        verdict_good="I bow, and begin again. / Nothing more to say.",
        verdict_mixed="Half a moon is still a moon. / I walk on, slower.",
        verdict_bad="The pond stays empty. / Even the frog has moved out.",
    ),
    _person(
        "Arturo_1958", "oataxv", "slow heavy sad", "short silly", mood=-0.2, headline="In my day",
        opening="I am of a certain age, so bear with me. | They do not make them as they did in 1974.",
        good="And yet {a} {p}, as in the old days. | To my surprise {a} {p}.",
        bad="In my day nobody would have sold it when {a} {p}. | Naturally {a} {p}, what else.",
        verdict_good="There is hope for the young after all. | I shall leave it to my nephew, he has taste.",
        verdict_mixed="Neither fish nor fowl, as my mother said. | I have sat through worse, and through better.",
        verdict_bad="I weep for the craft.",
        aside="I had a full head of hair then. | My late brother would have argued. | The tram cost four cents in those days.",
    ),
    _person(
        "bettina/beta", "oaatv", "clever small fussy", "sturdy", style="lower", headline="review v1.0",
        opening="status: tested on one user (me). | changelog of my evening:",
        good="works as designed: {a} {p}. | feature confirmed, {a} {p}.",
        bad="bug: {a} {p}, reproducible every time. | known issue, {a} {p}.",
        verdict_good="ship it. | tagged, released, tests green.",
        verdict_mixed="merge with comments, revisit next sprint. | works on my machine, mostly.",
        verdict_bad="revert. close as wontfix.",
    ),
    _person(
        "Coach Delroy", "oatavs", "loud tense sturdy", "sad slow", style="bangs", mood=0.3, sign_off="Now hydrate. Coach",
        opening="Team, gather round. | Eyes up, people.",
        good="Great hustle from {a}, which {p}. | First half: {a} {p}.",
        bad="Poor effort from {a}, which {p}. | Second half: {a} {p}.",
        verdict_good="That's how you win a season. | Champions, every one of you.",
        verdict_mixed="A draw, and we take the point. | We go again on Saturday.", verdict_bad="Ten laps for everybody involved.",
    ),
    _person(
        "Sister Ignatia", "oatvs", "gentle sad slow pretty", "tense loud", mood=0.1, sign_off="Peace and all good, Sr. Ignatia",
        opening="We tried it in the convent. | A kind benefactor left it at our door.",
        good="Sister Agnes, who praises nothing, said that {a} {p}. | It lifted the heart that {a} {p}.",
        bad="We forgive, but {a} {p}. | Sister Agnes said, and I cannot repeat it all, that {a} {p}.",
        verdict_good="It has been added to our thanks at vespers. | Mother Superior smiled, it was witnessed.",
        verdict_mixed="We pray for its improvement. | We keep an open mind, as we must.",
        verdict_bad="It has taught us patience, which was not on the label.",
    ),
)  # fmt: skip
