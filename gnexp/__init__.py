"""gnexp: does Group Normalization help here, and with which group count, epsilon, batch size and optimizer?"""
