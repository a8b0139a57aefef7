"""What there is: cards, plugins and what they bring. No torch here."""
