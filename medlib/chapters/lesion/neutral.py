"""Neutral text: short passages about everyday things, none of them medical, written for this book.

A block that every text needs costs these as much as it costs a medical question; their perplexity under a lesion is
the level against which the harm to medical questions is read.
"""

TEXTS = (
    "The train left the station a few minutes late, and most of the passengers were still looking for their seats when "
    "the first hills came into view behind the last houses of the town.",
    "To paint a wooden door, take it off its hinges, sand it until the old paint is smooth, and let the first coat dry "
    "for a whole day before you put on the second.",
    "The library closes at six in the winter, but the reading room on the ground floor stays open for another hour, so "
    "that people who come from work can return their books.",
    "In the middle of the square there is an old fountain, and on market days the farmers put their tables around it "
    "and sell apples, cheese, eggs and honey until noon.",
    "She had written three letters that morning, one to her brother, one to the bank and one to a friend in another "
    "country whom she had not seen since they were at school.",
    "The bridge was built of stone from the quarry on the other side of the river, and it took more than twenty years "
    "before the first carts could cross it.",
    "When the rain stopped, the children ran out into the garden and built a small dam of mud and sticks, which held "
    "the water for most of the afternoon.",
    "Most of the songs on the record are slow, with a guitar and a quiet voice, but the last one begins with drums and "
    "grows louder until the very end.",
    "A good map shows more than roads: it shows where the land rises and falls, where the woods begin, and which of "
    "the paths are likely to be wet in spring.",
    "The company sells its chairs all over the world, although each of them is still made by hand in the same workshop "
    "in which the founder began with two friends.",
    "Before the match the captain spoke to the team for a moment, and then they walked out together into the noise and "
    "the bright light of the stadium.",
    "If you want to grow tomatoes on a balcony, choose a place with sun from early morning, use large pots, and give "
    "them water every evening in summer.",
)
