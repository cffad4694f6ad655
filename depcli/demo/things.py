"""The items of the made-up world: forty films, books and kitchen things that do not exist."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Thing:
    """An invented item. `quality` runs from -2 (poor) to 2 (excellent); people agree or not by its `traits`."""

    asin: str
    kind: str
    title: str
    description: str
    quality: float
    traits: tuple[str, ...]
    aspects: tuple[str, ...]


def _things(kind: str, *rows: str) -> tuple[Thing, ...]:
    things = []
    for number, row in enumerate(rows, 1):
        title, description, quality, traits, aspects = (cell.strip() for cell in row.split("|"))
        things.append(
            Thing(
                f"{kind}-{number:02}", kind, title, description, float(quality), tuple(traits.split()), tuple(aspects.split("; "))
            )
        )
    return tuple(things)


FILMS = _things(
    "film",
    "The Salt Lamp | A lighthouse keeper's widow refuses to leave when the light is automated. | 1.5 | slow sad pretty"
    " | the lighthouse scenes; the daughter's letters; the grey sea; the last ten minutes",
    "Nine Minutes to Tarn | A train driver finds a child asleep in the empty last carriage. | 1 | tense short"
    " | the night train; the driver's radio calls; the child's silence; the one big tunnel",
    "Marmalade Court | Four retired judges share a house and a stolen painting. | 0.5 | funny gentle"
    " | the kitchen quarrels; the stolen painting; the four old judges; the courtroom dream",
    "Halogen | A night watchman sees the same stranger in every shop window of the mall. | -0.5 | tense loud"
    " | the empty mall; the mirror trick; the synthesizer score; the third act",
    "A Field Guide to Leaving | Two ornithologists divorce during the spring migration. | 1 | slow sad funny"
    " | the bird counts; the divorce lawyer's picnic; the marsh at dawn; the final voicemail",
    "Captain Ruckus Returns | A retired stuntman gets the whole circus back for one last jump. | -1 | loud funny silly"
    " | the canyon jump; the circus reunion; the talking parrot; the car chases",
    "The Understudy's Knife | Backstage at a provincial opera somebody rewrites the ending every night. | 0.5 | tense pretty"
    " | the opera house; the rewritten endings; the prompter's whisper; the costumes",
    "Below the Orchard | Brothers dig a well on their dead father's land and cannot agree to stop. | 1.5 | slow tense"
    " | the two brothers; the digging; the mother's one speech; the dry summer light",
    "Ping | The world's worst table tennis team is sent to the world's largest tournament. | 0 | funny silly short"
    " | the training montage; the coach's whistle; the final match; the bus songs",
    "Cold Harbour Road | A detective on her last week takes the bicycle theft nobody wants. | 0.5 | slow gentle"
    " | the bicycle plot; the sergeant's sandwiches; the rain; the quiet confession",
    "Ministers of Snow | Two governments bargain over a mountain that is melting. | -0.5 | slow clever"
    " | the negotiation scenes; the interpreter's jokes; the mountain itself; the long silences",
    "Bright Teeth | A dentist in a seaside town starts hearing her patients' secrets. | -1 | tense silly"
    " | the drill noises; the town gossip; the waiting room; the twist",
    "The Cartographer's Niece | A girl finds the one island that her uncle left off every map. | 1 | pretty gentle clever"
    " | the hand-drawn maps; the island; the uncle's stories; the storm",
    "Velvet Static | A pirate radio host falls for the engineer who is sent to shut her down. | 0 | loud pretty sad"
    " | the radio monologues; the love story; the rooftop aerial; the soundtrack",
)
BOOKS = _things(
    "book",
    "The Weight of Teaspoons | Three sisters divide their mother's kitchen, drawer by drawer. | 1.5 | sad gentle"
    " | the three sisters; the drawer chapters; the mother's recipes; the ending at the market",
    "Index of Small Storms | A weather clerk notices that his forecasts come true only for his neighbours. | 1 | clever short"
    " | the forecast entries; the neighbour's umbrella; the deadpan prose; the final storm",
    "How to Fold a River | Notes of an engineer who moved a town and drowned a valley. | 0.5 | slow sad clever"
    " | the flooded church; the engineer's notebooks; the town meetings; the diagrams",
    "The Lemon Detective | A greengrocer solves crimes by what people buy the day before. | 0 | funny gentle"
    " | the shopping lists; the greengrocer's nephew; the murder; the village fete",
    "Oxblood | A boxer ghostwrites the memoir of the man who beat him. | 1 | tense clever"
    " | the gym chapters; the fake memoir; the last fight; the wife's footnotes",
    "Everything the Moths Left | A costume archive burns and its keeper makes an inventory from memory. | 0.5 | slow pretty sad"
    " | the inventory; the fire; the descriptions of silk; the keeper's mother",
    "Colonel Biscuit and the Upside-Down Sea | An elderly dog commands a submarine made of cupboards. | 0.5 | silly funny short"
    " | the cupboard submarine; the walrus spy; the rhymes; the illustrations",
    "A Theory of Doors | Every door in a boarding school opens one year later than it should. | -0.5 | clever tense"
    " | the rules of the doors; the headmistress; the time jumps; the exam chapter",
    "Northern Bread | A baker walks four hundred miles with a jar of sourdough. | 0 | slow gentle"
    " | the walking; the sourdough jar; the strangers' kitchens; the bread recipes",
    "The Quiet Auction | Six heirs bid against each other without speaking for one whole day. | 1 | tense clever funny"
    " | the bidding; the silent lunch; the sixth heir; the floor plan",
    "Pomegranate Year | Love letters between two botanists, posted in seed packets. | -0.5 | sad pretty"
    " | the seed packets; the letters from June; the Latin names; the missing reply",
    "Blast Radius of a Whisper | A leaked memo ends nine careers in one afternoon. | -1 | tense loud"
    " | the office politics; the nine points of view; the memo; the press conference",
    "Gulls of the Third Parish | A vicar declares war on the seabirds of his own church. | -0.5 | funny silly"
    " | the gull attacks; the vicar's sermons; the parish council; the weather vane",
)
KITCHEN = _things(
    "kitchen",
    "Brumby Stovetop Kettle | A 1.2 litre enamel kettle with a two-note whistle. | 1 | pretty sturdy"
    " | the whistle; the enamel; the handle; the spout",
    "Fennick Garlic Rocker | A curved steel press that crushes garlic by rocking. | 1 | clever small"
    " | the rocking motion; the steel edge; the drip tray; the smell on my hands afterwards",
    "Ottoline Egg Timer | A wax egg that changes colour in the water as yours cook. | 0 | small clever"
    " | the colour change; the wax shell; the soft-boiled mark; the instructions",
    "Haldane Cast Pan 26 | A pre-seasoned iron pan, 26 cm, with a helper handle. | 1.5 | heavy sturdy"
    " | the seasoning; the helper handle; the weight; the pour lip",
    "Tuck & Tin Lunch Stack | Three steel boxes that clip into one tower. | 0.5 | sturdy fussy"
    " | the clips; the middle box; the seal; the carrying strap",
    "Miro Milk Frother | A battery whisk on a stand, two speeds. | -0.5 | loud small"
    " | the motor; the second speed; the stand; the battery cover",
    "Plank No. 4 Chopping Board | An end-grain board of beech with a juice groove. | 1 | heavy pretty sturdy"
    " | the juice groove; the beech grain; the rubber feet; the oiled finish",
    "Whirligig Salad Spinner | A foot-pump salad spinner for people with full hands. | -1 | silly loud fussy"
    " | the foot pump; the basket; the lid; the brake",
    "Saltbox Scale Mini | A pocket scale that weighs to a tenth of a gram. | 0.5 | small clever"
    " | the tare button; the display; the battery; the pocket case",
    "Grand Tour Espresso Pot | A six-cup moka pot with a porthole in the lid. | 0 | pretty fussy"
    " | the porthole; the gasket; the crema; the handle",
    "Nimbus Rice Cooker | A one-button cooker for two, sings when it is done. | 0.5 | loud clever"
    " | the one button; the song; the inner pot; the keep-warm setting",
    "Peel Me Twice Peeler Set | Two peelers, one for each hand, joined by a magnet. | -0.5 | silly small"
    " | the magnet; the left-hand peeler; the blades; the grip",
    "Aunt Vesna's Pickling Crock | Five litres of stoneware with a water seal and weights. | 1 | heavy slow sturdy"
    " | the water seal; the stone weights; the glaze; the first batch of cabbage",
)
THINGS = FILMS + BOOKS + KITCHEN

# What may be said of any aspect of a kind. Past tense, so that it fits one thing and several.
GOOD = {
    "film": (
        "earned every second",
        "pulled me right in",
        "stayed with me for days",
        "carried the whole film",
        "made me grin like a fool",
        "came together beautifully",
        "got me in the throat",
        "looked like nobody had hurried",
        "landed exactly where it hurt",
        "deserved the price of the ticket alone",
    ),
    "book": (
        "kept me up past midnight",
        "read like somebody had lived it",
        "made me laugh out loud on the bus",
        "broke my heart politely",
        "came back at just the right moment",
        "held the whole book up",
        "surprised me twice",
        "sent me straight back to page one",
        "felt true down to the commas",
        "got better with every chapter",
    ),
    "kitchen": (
        "did exactly what the box promised",
        "held up after months of daily use",
        "won me over on the first morning",
        "turned out better made than I hoped",
        "saved me ten minutes every evening",
        "still looked new in spring",
        "impressed even the neighbours",
        "worked the first time and every time since",
        "felt right from day one",
        "survived a house full of teenagers",
    ),
}
BAD = {
    "film": (
        "went nowhere",
        "dragged",
        "felt borrowed from a better film",
        "lost me by the halfway mark",
        "left me checking the clock",
        "fell flat",
        "could have been cut",
        "never convinced me for a second",
        "promised more than the film paid out",
        "had me reaching for my phone",
    ),
    "book": (
        "ran out of steam by chapter six",
        "needed an editor",
        "never came alive",
        "repeated the same trick over and over",
        "sent me to sleep twice",
        "read like a first draft",
        "lost me somewhere in the middle",
        "promised a lot and delivered little",
        "felt like homework",
        "bored me politely",
    ),
    "kitchen": (
        "gave up after two weeks",
        "rattled from the first day",
        "needed both hands and a prayer",
        "got in the way every single time",
        "felt cheaper than the price",
        "came loose by the second week",
        "disappointed me straight out of the box",
        "never worked the way the picture showed",
        "made more mess than it saved",
        "annoyed me daily",
    ),
}
# What a trait sounds like to somebody who likes it, and to somebody who does not.
LIKED = {
    "slow": "it takes its time and I was glad of every minute",
    "sad": "it made me cry and I thank it for that",
    "pretty": "it is lovely simply to look at",
    "tense": "my shoulders were up by my ears in the best way",
    "short": "it stops before it can bore anybody",
    "funny": "I laughed more than I have all year",
    "gentle": "there is so much kindness in it",
    "loud": "it is loud and I like loud",
    "silly": "it is gloriously silly",
    "clever": "it is cleverer than it lets on",
    "sturdy": "it will outlive me",
    "small": "it fits in any drawer",
    "heavy": "it has a proper weight to it",
    "fussy": "it rewards a bit of patience",
}
DISLIKED = {
    "slow": "it is so slow that I aged",
    "sad": "it is miserable for no good reason",
    "pretty": "it is all looks",
    "tense": "it wore my nerves out and gave nothing back",
    "short": "it is over before it begins",
    "funny": "the jokes are not funny",
    "gentle": "it is so gentle that nothing happens",
    "loud": "it is far too loud",
    "silly": "it is too silly for grown people",
    "clever": "it thinks it is cleverer than it is",
    "sturdy": "it is built like a tank",
    "small": "it is so small that I keep losing it",
    "heavy": "it is much too heavy for my wrists",
    "fussy": "it is fussy beyond belief",
}
