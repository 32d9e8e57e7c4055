"""Will it fire for this attack: a drill's injection as series, and the rules over them as promtool evaluates them."""
