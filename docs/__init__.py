"""The pages, and the script that writes a part of one."""
