"""OpenRTB 2.6: a bid request in, a bid response out, and what the exchange tells of the bids.

Sections are those of IAB Tech Lab's "OpenRTB API Specification Version 2.6" where nothing else is said; "Native" are
those of the "Dynamic Native Ads API Specification Version 1.2", and lists those of AdCOM 1.0. Fields that are not known
are passed over, and so are values that are not of their type (2.6).
"""
