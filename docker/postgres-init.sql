-- Label Studio keeps its tables in a database of its own.
CREATE DATABASE label_studio;
