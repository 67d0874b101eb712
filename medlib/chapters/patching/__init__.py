"""Where does the answer change hands?"""
