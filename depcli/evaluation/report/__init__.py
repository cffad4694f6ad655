"""What people read of an evaluation: tables for a terminal, and one page with plots."""
