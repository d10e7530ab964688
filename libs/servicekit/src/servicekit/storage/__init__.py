"""What every service stores with: databases, column types, sealed texts. No tables are known here."""
