"""`/goal`: work that goes on turn after turn until a judge, and the gates, agree that it is done."""
