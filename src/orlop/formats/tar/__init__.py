"""Tar archives: a streaming reader and writer of ustar, pax and GNU archives, and the whiteouts of image layers."""
