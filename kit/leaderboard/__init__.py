"""Every experiment, blend and submission beside the others, and what the leaderboard said of them."""
