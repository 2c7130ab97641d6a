"""Prints a line of JSON whenever the instances of the simulated EC2 change: id, address, type, market and state."""

import json
import sys
import time

import boto3

#: Seconds between two looks.
PERIOD = 0.5

if __name__ == "__main__":
    ec2 = boto3.client("ec2")
    before = None
    while True:
        made = [each for group in ec2.describe_instances()["Reservations"] for each in group["Instances"]]
        now = [
            (
                each["InstanceId"],
                each.get("PrivateIpAddress"),
                each["InstanceType"],
                each.get("InstanceLifecycle", "on demand"),
                each["State"]["Name"],
            )
            for each in made
        ]
        if now != before:
            before = now
            sys.stdout.write(json.dumps({"time": time.time(), "instances": now}) + "\n")
            sys.stdout.flush()
        time.sleep(PERIOD)
