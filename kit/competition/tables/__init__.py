"""Tables of a competition: read as text, matched with images.

read.py         the registry of table readers: CSV, TSV, Parquet, JSON, text lists
json_tables.py  COCO, records and maps as tables
matching.py     find the column of a table that names the images of a folder
"""
