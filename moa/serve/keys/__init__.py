"""Who may come in, one by one: the server's own key (`own_key`), and the keys of a team (`ring`), each with its limits (`account`).

`admin` is what `moa serve keys` answers."""
