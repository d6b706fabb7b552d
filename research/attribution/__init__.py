"""Attribution: which assets, agents, decisions and costs made the return of a period."""
