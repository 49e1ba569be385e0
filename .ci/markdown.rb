# Rules of the Markdown linter (`make lint`): all but those below.
all
exclude_rule 'MD013' # Tables and links are as wide as what is in them.
exclude_rule 'MD031' # Marks stand around blocks that a test compares.
exclude_rule 'MD040' # Most blocks of code are commands, or what a console says.
rule 'MD029', :style => :ordered # Lists count: 1, 2, 3.
