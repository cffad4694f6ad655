"""How somebody writes: countable features and early layers of minilm, projected to what tells people apart."""
