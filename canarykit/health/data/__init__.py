"""What the data are: their pulse, their silences, their delays."""
