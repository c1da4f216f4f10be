"""English for the offline writer."""

from __future__ import annotations

import re

from models.language.grammar import Language, Noun


def pattern(lexeme: str) -> str:
    """Return a pattern of the word, its plural and possessive. A space also matches a hyphen; `|` separates forms."""
    forms = "|".join(re.escape(form).replace(r"\ ", r"[\s-]+") for form in lexeme.split("|"))
    return rf"(?:{forms})(?:e?s)?(?:['’]s?)?"


def noun(lexeme: str) -> Noun:
    """Return a noun without cases; the first of irregular forms is the singular."""
    return Noun.plain(lexeme.split("|", maxsplit=1)[0])


PEOPLE = {
    "merchant": "merchant, trader, shopkeeper, bai, rich man, richman, salesman, seller, moneylender, miser",
    "khan": "khan, sultan, king, judge, vizier, ruler, emir, padishah, governor, chief, bey, biy",
    "old man": "old man, shepherd, elder, beggar, aksakal, grandfather, poor man, mullah, sage, wise man, father,"
    " herder,"
    " devil, neighbour, neighbor",
    "woman": "woman|women, wife|wives, mother, widow, girl, grandmother, old woman, bride, daughter, sister, princess,"
    " queen, lady|ladies",
    "boy": "boy, child|children, kid, lad, son, orphan",
    "young man": "young man, guard, thief|thieves, soldier, warrior, batyr, hunter, wrestler, servant, groom, poet,"
    " stranger, brother, jigit, robber, fool, braggart",
}
ANIMALS = {
    "horse": "horse, steed, mare, stallion, racehorse, foal",
    "donkey": "donkey, mule, ass",
    "camel": "camel",
    "sheep": "sheep, ram, lamb, ewe",
    "dog": "dog, hound, puppy",
}
PROPS = {
    "sack of gold": "sack of gold, bag of gold, gold, money, coin, treasure, silver, purse, tenge",
    "carpet": "carpet, rug, felt mat",
    "cauldron": "cauldron, kazan, pot, kettle, soup, meat, stew, broth",
    "coat full of holes": "coat full of holes, coat of holes, torn coat, fur coat, coat, ragged coat, tattered coat,"
    " old robe, torn robe, rags",
    "bread": "bread, loaf|loaves, baursak, flatbread, food, cake",
}
PLACES = {
    "bazaar": "bazaar, market, marketplace, town, city|cities",
    "yurts": "yurts, village, aul, camp, settlement",
    "inside a yurt": "yurt, tent, house, palace, at home, his home, her home, their home",
    "steppe": "steppe, desert, field, grassland, meadow, road",
    "mountains": "mountain, hill, cliff, cave, mountain pass",
    "river": "river, lake, stream, riverbank, ford, shore",
}
TIMES = {
    "day": "by day, daylight, noon, midday, morning, dawn, sunrise, daytime",
    "sunset": "sunset, evening, dusk, twilight",
    "night": "night, midnight, moonlight, moon, stars",
}
HATS = {
    "fur hat": "fur hat, fur cap, hat, tymak",
    "turban": "turban",
    "skullcap": "skullcap, skull cap",
    "straw hat": "straw hat",
    "crown": "crown",
}
COLOURS = {name: name for name in ("red", "orange", "yellow", "green", "blue", "purple", "brown", "white")}
CUES = {
    "swap": "swap, swapped, swapping, exchange, exchanged, cold, frost, winter, freezing, frozen, snow, blizzard",
    "bargain": "sell, selling, sold, buy, buying, bought, price, bargain, haggle, shop, goods, trade, traded",
    "race": "race, racing, gallop, contest, compete, wager, bet, fastest, win, won, baiga, wrestle, wrestling",
    "feast": "feast, dinner, guest, hungry, hunger, cook, cooking, eat, eating, ate, supper, wedding, invited, lunch",
    "gold": "greed, greedy, stingy, tax, debt, bury, buried, dig, plant, planted, tree, grow, wealth",
    "sleeper": "sleep, sleeping, sleepless, asleep, steal, stole, stolen, dream, snore, snoring",
    "borrow": "borrow, borrowed, borrowing, lend, lent, return, loan, promise",
    "riddle": "riddle, lie, lying, liar, wisdom, wise, wit, question, answer, joke, laugh, laughter, argue, boast",
    "friend": "poor, help, helped, save, saved, justice, rescue, robbed, unfair",
}
CAPTIONS = {
    "swap_coat": "Aldar Köse shows off a coat of seventy holes: there is more hole to it than coat.",
    "swap_ride": "On a lean {mount} he hums as if it were July, and the {foe} is coming his way.",
    "swap_talk": "“Aren't you freezing?” asks the {foe}. “In this coat I am boiling!” says Aldar.",
    "swap_haggle": "“The wind comes in by one hole and leaves by the next.” The {foe} begs him to trade.",
    "swap_give": "Aldar gives the {foe} the coat full of holes and sighs like a man who is being robbed.",
    "swap_off": "Warm at last, Aldar rides off on his {mount}, and the {foe} counts the holes.",
    "bargain_arrive": "Aldar Köse comes {to} with empty pockets and a full head.",
    "bargain_wares": "He sits down and praises the {bait} until even the flies come to look.",
    "bargain_talk": "“Not for sale!” he tells the {foe}, and at once the {foe} can't live without it.",
    "bargain_price": "The price climbs like a goat: the {foe} shouts, Aldar shakes his head.",
    "bargain_deal": "Done! Aldar hands the {foe} the {bait} and a blessing, which costs extra.",
    "bargain_off": "By the time the {foe} looks twice, Aldar and his {mount} are a dot far away.",
    "race_mount": "Nobody would bet a crust on this {mount}, and that is just what Aldar Köse hopes.",
    "race_bet": "“My {mount} against all you have!” The {foe} laughs until it hurts.",
    "race_start": "They are off! Aldar whispers one word into the ear of his {mount}.",
    "race_run": "Where the track bends, Aldar runs on by a path that only goats and tricksters know.",
    "race_pay": "“First is first,” says Aldar. The {foe} haggles, but a bet is a bet.",
    "race_off": "Aldar rides home, and the {foe} learns how long the road is on foot.",
    "feast_hungry": "Three days on the road and not a crumb: Aldar Köse follows his nose.",
    "feast_door": "“We have eaten it all,” says the {foe}. The steam of the pot says something else.",
    "feast_sit": "Aldar sits down by the cauldron as if he had been born there.",
    "feast_bread": "“My bread would suit your soup,” he tells the {foe}, and now he is a guest.",
    "feast_tale": "One tall tale, one spoonful; a taller tale, two. The {foe} forgets to eat.",
    "feast_wave": "The pot is empty. Aldar waves; the {foe} still waits for the end of the tale.",
    "gold_found": "Aldar Köse has found a sack of gold, or so he tells everyone with ears.",
    "gold_whisper": "“Gold grows if you plant it,” he whispers, and first of all the ears of the {foe} grow.",
    "gold_plant": "He sits by a patch of bare earth and tends it like a gardener.",
    "gold_harvest": "“The first harvest!” Aldar gives the {foe} a sack of it, to whet the appetite.",
    "gold_sow": "Now the {foe} wants to sow everything. Aldar lets himself be begged.",
    "gold_off": "“What a drought!” sighs Aldar, and his {mount} carries the whole harvest away.",
    "sleeper_look": "Aldar Köse looks at the {prize}, then at the {foe}, and yawns on purpose.",
    "sleeper_boast": "“I never sleep,” boasts the {foe}. “Nor do I,” says Aldar, and begins a long, long tale.",
    "sleeper_sleep": "Aldar snores so sweetly that the {foe} has to close an eye, and then the other.",
    "sleeper_tiptoe": "One of Aldar's eyes opens. He goes on tiptoe, and even the dogs keep his secret.",
    "sleeper_dream": "“Robbed!” cries the {foe}. “I saw the thief in a dream,” says Aldar, “and dreams cost money.”",
    "sleeper_off": "Aldar rides away on his {mount}. From now on the {foe} really never sleeps.",
    "borrow_poor": "Aldar Köse owns nothing at all; luckily the {foe} owns two of everything.",
    "borrow_ask": "“Lend me the {loan}, only until tomorrow.” The {foe} suspects nothing.",
    "borrow_home": "He takes the {loan} along and is in no hurry to bring it back.",
    "borrow_gift": "“Your {loan} had a little one last night!” The {foe} gets bread to celebrate. Who would argue?",
    "borrow_more": "Next time the {foe} lends twice as much. Aldar bargains: “Only because it's you.”",
    "borrow_off": "“The {loan} has died!” Aldar calls from his {mount}. “You believed the birth, believe the funeral.”",
    "riddle_come": "The {foe} offers gold for a lie that nobody can believe. Aldar Köse is on his way.",
    "riddle_stand": "Before them all Aldar begins: “My grandfather herded clouds as others herd sheep.”",
    "riddle_tell": "“Your father owed mine a sack of gold,” he tells the {foe}. “Have you heard of it?”",
    "riddle_sit": "Aldar sits, empties three bowls of kumis and thinks aloud.",
    "riddle_pay": "“If it's true, pay the debt. If it's a lie, pay the prize.” The {foe} begins to sweat.",
    "riddle_off": "There was no third answer: the {prize} is Aldar's, and so is the road.",
    "friend_road": "Aldar Köse is in no hurry: somebody always needs a trick.",
    "friend_tears": "“The {foe} took all I had,” says the {friend}. Aldar scratches his beardless chin.",
    "friend_think": "A trick is like kumis, it has to stand a while. Aldar sits and thinks.",
    "friend_shadow": "“The {bait} isn't for sale, only its shadow,” says Aldar. The {foe} pays.",
    "friend_give": "What was taken comes home: Aldar brings the {friend} the {prize}.",
    "friend_wave": "No thanks, please! Aldar waves, and the {foe} is still guarding a shadow.",
    "o_river": "By the river Aldar practises an honest face on the water.",
    "o_wave": "He waves to somebody far away: a trickster has friends everywhere.",
    "o_ride": "The {mount} knows the road, Aldar knows the jokes.",
    "o_dog": "A dog barks at Aldar, thinks it over and follows him.",
    "o_bread": "Half a loaf for now and half for later: even Aldar plans ahead.",
    "o_lookout": "From up here you can see who is rich: they have the longest shadows.",
    "t_listen": "The {foe} boasts, and Aldar collects every word like a coin.",
    "t_leave": "Aldar walks away slowly, so as to be called back.",
    "t_back": "The first offer is an insult, the second a joke. Aldar waits for what the {foe} says next.",
    "t_wait": "Aldar sits as if he had all the time in the world. The {foe} has not.",
    "t_run": "“I forgot something!” Aldar runs off, and everybody wonders what it was.",
    "t_gift": "A little bread for the {foe}: bait is cheaper than a net.",
    "e_sleep": "Aldar sleeps like a man with a clear conscience, or with none.",
    "e_run": "A shout behind him! Aldar runs and laughs, which takes practice.",
    "e_share": "At supper Aldar shares the pot with whoever is hungry.",
    "e_again": "The {foe} catches up, out of breath. “You again?” says Aldar warmly.",
    "e_ford": "The {mount} follows the river: water keeps no tracks.",
    "e_wave": "Farewell, good people! Aldar waves, and his grin stays a little longer.",
    "m_ask": "“Have you seen a fool?” asks Aldar. “The {foe} went that way,” says the {friend}.",
    "m_share": "Aldar shares his bread with the {friend}: a good trick needs a witness.",
    "m_news": "The {friend} has news, and Aldar bargains: gossip is dear today.",
}

ENGLISH = Language(
    code="en",
    people=PEOPLE,
    animals=ANIMALS,
    props=PROPS,
    places=PLACES,
    times=TIMES,
    hats=HATS,
    colours=COLOURS,
    garments="robe, coat, gown, chapan, shapan, caftan, dress",
    cues=CUES,
    pattern=pattern,
    noun=noun,
    things={name: Noun.plain(name) for name in (*ANIMALS, *PROPS)},
    at={
        "bazaar": "at the bazaar",
        "yurts": "among the yurts",
        "steppe": "on the steppe",
        "mountains": "in the mountains",
        "river": "by the river",
        "inside a yurt": "inside the yurt",
    },
    to={
        "bazaar": "to the bazaar",
        "yurts": "to the village",
        "steppe": "out to the steppe",
        "mountains": "to the mountains",
        "river": "to the river",
        "inside a yurt": "into the yurt",
    },
    captions=CAPTIONS,
    stands="The {it} looks on.",
    lies="Nearby: the {it}.",
)
